# The zygote of a session (zygote.go): an interpreter with its modules loaded,
# which forks itself into the programs "python3 FILE ARG ...". It runs as the
# container's root, and imports and reads nothing that a program could have
# written: as root it handles numbers and texts alone. What it forks becomes the
# program's user, as in become.go, before it looks at any file.
#
# It is run with a socket to the agent as "sock", by an interpreter that was
# started with -I -S -B -u -i -c. The last two let go of the frame of this
# script: the interpreter calls sys.__interactivehook__ with no frame of Python
# below, and what that calls in turn is then the bottom of the program's stack.

# The modules in C where there are two: those around them cost memory.
import _frozen_importlib_external
import _functools
import _signal
import _socket
import _struct
import _thread
import _weakref
import atexit
import builtins
import ctypes
import errno
import gc
import io
import os
import posix
import resource
import site
import stat
import sys
import time

# Stages of a start (wire/message.go).
CGROUP, STREAMS, LIMITS, USER, FILTER, DIRECTORY = range(4, 10)
NOT_EXECUTABLE = 126  # exit code (exec.go)

PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_GET_TID_ADDRESS = 4, 22, 40
SECCOMP_MODE_FILTER = 2
SYS_CLONE3 = 435  # on all architectures
CLONE_PIDFD, CLONE_PARENT = 0x1000, 0x8000
CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID = 0x200000, 0x1000000
CLONE_INTO_CGROUP = 0x200000000
# set_robust_list and get_robust_list.
ROBUST_LIST = {"x86_64": (273, 274), "aarch64": (99, 100)}

# Variables that decide how an interpreter starts, or what a library does when it
# is loaded. PYTHONUNBUFFERED is the one that is provided for; the others have to be
# as this interpreter found them.
OWN = b"PYTHONUNBUFFERED"
PREFIXES = (b"PYTHON", b"LD_", b"GLIBC_", b"MALLOC_", b"OPENSSL_", b"OPENBLAS_", b"OMP_", b"MKL_")
NAMES = {b"LOCPATH", b"GCONV_PATH", b"SSLKEYLOGFILE"}

Module = type(sys)

# All calls hold the interpreter's lock, so that nothing happens in between.
libc = ctypes.PyDLL(None, use_errno=True)
api = ctypes.pythonapi


def check(result, func, args):
    if result == -1:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))
    return result


prctl = libc.prctl
prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
prctl.errcheck = check
syscall = libc.syscall
syscall.restype = ctypes.c_long


class Memory:
    """What the kernel reads and writes at a fork, made before."""

    def __init__(self):
        self.clone = (ctypes.c_uint64 * 11)()
        self.pidfd = ctypes.c_int()
        tid = ctypes.c_uint64()
        # Where the C library keeps this thread's id, and has the kernel write it.
        prctl(PR_GET_TID_ADDRESS, ctypes.addressof(tid), 0, 0, 0)
        self.tid = tid.value
        if ctypes.c_int.from_address(self.tid).value != os.getpid():
            raise OSError("the C library's thread id is not where the kernel has it")
        self.robust = None
        numbers = ROBUST_LIST.get(os.uname().machine)
        if numbers:
            head, size = ctypes.c_uint64(), ctypes.c_uint64()
            if syscall(numbers[1], 0, ctypes.byref(head), ctypes.byref(size)) == 0:
                self.robust = numbers[0], head, size
        # clone3 "is not there" (noClone3 in fork.go).
        code = _struct.pack(
            "=" + "HBBI" * 5,
            0x20, 0, 0, 0,
            0x54, 0, 0, 0xBFFFFFFF,
            0x15, 0, 1, SYS_CLONE3,
            0x06, 0, 0, 0x00050000 | errno.ENOSYS,
            0x06, 0, 0, 0x7FFF0000,
        )
        self.code = ctypes.create_string_buffer(code)
        self.filter = ctypes.create_string_buffer(_struct.pack("HxxxxxxQ", 5, ctypes.addressof(self.code)))
        self.caps = ctypes.create_string_buffer(_struct.pack("=II", 0x20080522, 0))
        self.none = ctypes.create_string_buffer(24)
        self.got = ctypes.create_string_buffer(24)
        # The arguments, as others see them.
        with open("/proc/self/stat", "rb") as f:
            fields = f.read().rpartition(b")")[2].split()
        self.arguments = int(fields[45]), int(fields[46])

    def fork(self, cgroup):
        """Forks a child of the agent. Returns its number, 0 in itself."""
        c = self.clone
        c[0] = CLONE_PARENT | CLONE_PIDFD | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID
        c[1], c[2] = ctypes.addressof(self.pidfd), self.tid
        if cgroup is not None:
            c[0] |= CLONE_INTO_CGROUP
            c[10] = cgroup
        api.PyOS_BeforeFork()
        pid = syscall(SYS_CLONE3, c, ctypes.c_ulong(88))
        if pid == 0:
            api.PyOS_AfterFork_Child()
            if self.robust:
                syscall(*self.robust)  # which a fork loses
            sock.detach()  # whose number may come to be another's
            return 0
        e = ctypes.get_errno()
        api.PyOS_AfterFork_Parent()
        if pid < 0:
            raise OSError(e, os.strerror(e))
        return pid


class Program:
    """The body of a Start (wire/program.go), which the agent has looked at."""

    def __init__(self, b):
        flags, self.tasks, _, _, self.uid, self.gid, self.umask, n = _struct.unpack_from("<BBHHIIII", b)
        self.soft, self.cgroup = flags & 4, flags & 8
        at = 22
        self.groups = list(_struct.unpack_from("<%dI" % n, b, at))
        at += 4 * n
        (n,) = _struct.unpack_from("<I", b, at)
        at += 4
        self.rlimits = [_struct.unpack_from("<IQQ", b, at + 20 * i) for i in range(n)]
        at += 20 * n

        def text():
            nonlocal at
            (n,) = _struct.unpack_from("<I", b, at)
            at += 4 + n
            return b[at - n : at]

        def texts():
            nonlocal at
            (n,) = _struct.unpack_from("<I", b, at)
            at += 4
            return [text() for _ in range(n)]

        self.dir, self.args = text(), texts()
        self.env = [tuple(kv.partition(b"=")[::2]) for kv in texts()]

    def suits(self):
        """Says whether an interpreter would be what this one is."""
        if len(self.args) < 2 or not self.args[1] or self.args[1].startswith(b"-"):
            return False
        env = dict(self.env)
        if len(env) != len(self.env) or b"" in env:
            return False
        if deciding(env) != FOUND:
            return False
        locale = env.get(b"LC_ALL") or env.get(b"LC_CTYPE") or env.get(b"LANG")
        return locale == b"C.UTF-8"


def deciding(env):
    return {k: v for k, v in env.items() if k.startswith(PREFIXES) and k != OWN or k in NAMES}


FOUND = deciding(posix.environ)


def infinite(limit):
    return resource.RLIM_INFINITY if limit == 2**64 - 1 else limit


def become(p, fds, gate):
    """Becomes the program's user, as in become.go, and waits for the agent."""
    stage = CGROUP
    try:
        tasks = fds[3 + bool(p.cgroup) :]
        for fd in tasks[: p.tasks]:
            os.write(fd, b"0")
        stage = STREAMS
        os.setsid()
        for i in range(3):
            os.dup2(fds[i], i)
        os.closerange(3, gate)
        os.closerange(gate + 1, 1 << 30)
        stage = LIMITS
        for which, soft, hard in p.rlimits:
            resource.setrlimit(which, (infinite(soft), infinite(hard)))
        os.umask(p.umask)
        stage = USER
        os.setgroups(p.groups)
        os.setresgid(p.gid, p.gid, p.gid)
        os.setresuid(p.uid, p.uid, p.uid)
        capset(memory.caps, memory.none)
        capget(memory.caps, memory.got)
        if memory.got.raw != memory.none.raw or os.getresuid() != (p.uid,) * 3 or os.getresgid() != (p.gid,) * 3:
            raise OSError(errno.EPERM, "still somebody else")
        stage = FILTER
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(memory.filter), 0, 0)
        report(gate, 0, 0)
        if len(os.read(gate, 1)) != 1:
            os._exit(0)
        stage = DIRECTORY
        if p.dir:
            os.chdir(p.dir)
    except BaseException as e:
        error = isinstance(e, OSError) and e.errno or errno.EINVAL
        if p.soft and stage == DIRECTORY:
            text = os.strerror(error)
            os.write(2, b"codebeaker: working directory %s: %s%s\n" % (p.dir, text[:1].lower().encode(), text[1:].encode()))
        else:
            report(gate, stage, error)
        os._exit(NOT_EXECUTABLE)
    os.close(gate)
    # Nothing is left that others must not see.
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)


def report(gate, stage, error):
    """Says how far it came, or ends without a trace where nobody waits for it."""
    try:
        os.write(gate, _struct.pack("=II", stage, error))
    except OSError:
        os._exit(0)


def begin(p):
    """Makes the interpreter one that was started with FILE ARG ..."""
    try:
        file = prepare(p)
    except BaseException:
        file = None
    if file:
        todo.append(_functools.partial(run, file, p.args[1], 1, None))
        return
    # What it cannot be, one that is started can, or says why not.
    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
    _signal.signal(_signal.SIGXFSZ, _signal.SIG_DFL)
    try:
        os.execve(interpreter, p.args, dict(p.env))
    finally:
        os._exit(NOT_EXECUTABLE)


def prepare(p):
    """Returns the program's file, or None where another interpreter is due."""
    name = os.fsdecode(p.args[1])
    opened = libc.fopen(p.args[1], b"rbe")
    if not opened or not stat.S_ISREG(os.stat(name).st_mode):
        return None
    directory = os.path.dirname(os.path.realpath(name))
    try:
        names = os.listdir(directory)
    except OSError:
        names = []
    # A module of the program's own comes before one of the same name that is
    # loaded already.
    if not loaded.isdisjoint(n.partition(".")[0] for n in names):
        return None

    libc.clearenv()
    os.environ._data.clear()
    for key, value in p.env:
        os.environb[key] = value
    posix.environ.clear()
    posix.environ.update(p.env)
    unbuffered = bool(posix.environ.get(OWN))
    if b"TZ" in posix.environ:
        time.tzset()

    setflag("unbuffered", int(unbuffered))
    for flag, value in FLAGS.items():
        setflag(flag, value)
    sys._xoptions.clear()
    sys.dont_write_bytecode = False
    sys.argv[:] = [os.fsdecode(a) for a in p.args[1:]]
    sys.orig_argv[:] = [os.fsdecode(a) for a in p.args]
    del sys.__interactivehook__
    standard_streams(unbuffered)
    settitle(p.args)
    site.ENABLE_USER_SITE = site.USER_SITE = site.USER_BASE = None
    if customized or site.check_enableusersite() and os.path.isdir(site.getusersitepackages()):
        if others:
            return None  # the user's packages come before those
        sys.path[:] = bare
        site.main()
    else:
        site.ENABLE_USER_SITE = site.check_enableusersite()
        site.enablerlcompleter()
    sys.path.insert(0, directory)
    main = Module("__main__")
    for name in "__annotations__", "__builtins__":
        if name in begun:
            setattr(main, name, begun[name])
    sys.modules["__main__"] = main
    gc.enable()
    return opened


# sys.flags of an interpreter without options.
FLAGS = {
    "isolated": 0, "ignore_environment": 0, "no_user_site": 0, "no_site": 0, "interactive": 0, "inspect": 0,
    "dont_write_bytecode": 0, "safe_path": False,
}


def setflag(name, value):
    flags = type(sys.flags).__match_args__
    if name in flags:
        api.Py_IncRef(value)
        api.PyStructSequence_SetItem(sys.flags, flags.index(name), value)


def standard_streams(unbuffered):
    """Opens them as create_stdio of pylifecycle.c does."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        was = getattr(sys, name)
        mode = "w" if fd else "r"
        buffer = io.open(fd, mode + "b", 0 if fd and unbuffered else -1, closefd=False)
        getattr(buffer, "raw", buffer).name = "<%s>" % name
        stream = io.TextIOWrapper(
            buffer, was.encoding, was.errors, "\n",
            line_buffering=not unbuffered and fd == 2, write_through=unbuffered,
        )
        stream.mode = mode
        setattr(sys, name, stream)
        setattr(sys, "__%s__" % name, stream)
        if not unbuffered:
            kept = ctypes.c_void_p.in_dll(libc, name)
            libc.setvbuf(kept, None, 2 if fd == 2 else 0, 0 if fd == 2 else io.DEFAULT_BUFFER_SIZE)


def settitle(args):
    """Has others see the program's arguments, as far as they fit."""
    start, end = memory.arguments
    room = end - start
    title = b" ".join(args)[: room - 1]
    # Without a NUL at the end the kernel takes it for a text up to the first.
    ctypes.memmove(start, title.ljust(room - 1, b"\0") + b"\xff"[: room - len(title) > 1], room)


def finish(result, func, args):
    """Has the interpreter end as one does whose program has ended so."""
    global code
    code = 1 if result else 0
    if result:
        if getattr(sys, "last_type", None) is KeyboardInterrupt:
            # At the very end the C library calls raise(code).
            libc.on_exit(ctypes.cast(getattr(libc, "raise"), ctypes.c_void_p), None)
            code = int(_signal.SIGINT)
    todo.append(_functools.partial(leave, code))
    return result


def end():
    """Ends a program without taking apart what it did not make.

    It is the first function that atexit got, and so the last that is called. It
    does what Py_FinalizeEx would do next and others can see, up to the end of
    the program's own modules. To free all the rest takes as long as the program
    itself, and the end of the process does it better. Where it does not know how
    the program ends, or that needs more, Py_FinalizeEx goes on.
    """
    if code is None or _thread._count():
        return
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        return  # which Py_FinalizeEx has something to say about
    atexit._clear()  # all have been called
    gc.collect()
    for name in "path", "argv", "ps1", "ps2", "last_exc", "last_type", "last_value", "last_traceback", "meta_path":
        if hasattr(sys, name):
            setattr(sys, name, None)
    for name in "stdin", "stdout", "stderr":
        setattr(sys, name, getattr(sys, "__%s__" % name, None))
    builtins.__import__ = refuse
    own = []
    for name in list(sys.modules):
        if name not in preloaded:
            module = sys.modules[name]
            if isinstance(module, Module):
                own.append(_weakref.ref(module))
            sys.modules[name] = module = None
    gc.collect()
    for ref in reversed(own):
        module = ref()
        if module is not None:
            clear(module.__dict__)
            del module
    gc.collect()
    if code == _signal.SIGINT:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        libc.exit(code)


def refuse(*args):
    """Imports a module when none are left, as far as a program can tell."""
    raise ImportError("sys.meta_path is None, Python is likely shutting down")


def clear(names):
    """Clears a module's names in the order of _PyModule_ClearDict."""
    for private in True, False:
        for name in list(names):
            if isinstance(name, str) and name != "__builtins__" and (name.startswith("_") and not name.startswith("__")) == private:
                names[name] = None


def trusted(path):
    """Says whether nobody but root can change what is in a directory."""
    path = os.path.realpath(path)
    while True:
        st = os.stat(path)
        if not stat.S_ISDIR(st.st_mode) or st.st_uid != 0 or st.st_mode & 0o022:
            return False
        if path == "/":
            return True
        path = os.path.dirname(path)


def preload(names):
    for name in names:
        try:
            __import__(name)
        except Exception as e:
            print("preload %s: %s: %s" % (name, type(e).__name__, e), file=sys.stderr)
        if len(os.listdir("/proc/self/task")) > 1:
            # They would be missing from what is forked.
            sys.exit("preload %s: it starts threads; take it from the list of modules to preload" % name)


def serve():
    """Forks what the agent asks for. It returns in what is forked."""
    try:
        p, fds, gate = fork()
        become(p, fds, gate)
        begin(p)
    except BaseException as e:
        # The interpreter would go on to read commands.
        print("zygote: %s: %s" % (type(e).__name__, e), file=sys.stderr)
        os._exit(1)


def fork():
    """Returns in a process that it forks, with what it was forked for."""
    while True:
        body, fds, gate = receive()
        pid = error = 0
        try:
            p = Program(body)
            if p.suits():
                pid = memory.fork(fds[3] if p.cgroup else None)
                if pid == 0:
                    return p, fds, gate
        except OSError as e:
            error = e.errno or errno.EINVAL
        made = [memory.pidfd.value] if pid else []
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, _struct.pack("i", fd)) for fd in made]
        sock.sendmsg([_struct.pack("=iI", pid, error)], rights)
        for fd in [*fds, gate, *made]:
            os.close(fd)


def receive():
    body, rights, flags, _ = sock.recvmsg(1 << 16, 256, _socket.MSG_CMSG_CLOEXEC)
    if not body:
        os._exit(0)  # the agent ended
    fds = []
    for level, kind, data in rights:
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
            fds.extend(_struct.unpack("%di" % (len(data) // 4), data))
    return body, fds[:-1], fds[-1]


# What every interpreter has loaded before it looks at a program.
STARTUP = {
    "__main__", "_abc", "_codecs", "_collections_abc", "_distutils_hack", "_frozen_importlib", "_frozen_importlib_external",
    "_imp", "_io", "_signal", "_sitebuiltins", "_stat", "_thread", "_warnings", "_weakref", "abc", "builtins", "codecs",
    "encodings", "genericpath", "io", "marshal", "os", "posix", "posixpath", "site", "stat", "sys", "time", "winreg", "zipimport",
}

memory = Memory()
code = None  # of the program, once it has ended
capget, capset = libc.capget, libc.capset
capget.errcheck = capset.errcheck = check
libc.fopen.argtypes, libc.fopen.restype = [ctypes.c_char_p, ctypes.c_char_p], ctypes.c_void_p
libc.setvbuf.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
libc.on_exit.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
api.Py_IncRef.argtypes, api.Py_IncRef.restype = [ctypes.py_object], None
api.PyStructSequence_SetItem.argtypes = [ctypes.py_object, ctypes.c_ssize_t, ctypes.py_object]
api.PyStructSequence_SetItem.restype = None
for name in "PyOS_BeforeFork", "PyOS_AfterFork_Parent", "PyOS_AfterFork_Child":
    getattr(api, name).restype = None
leave = api.Py_Exit
run = api.PyRun_SimpleFileExFlags
run.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p]
run.errcheck = finish

prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
standard = [d for d in sys.path if os.path.exists(d)]
if not all(map(trusted, standard)):
    sys.exit("the interpreter's own modules are in %s, which others than root can change" % standard)
interpreter = sys.executable
bare = sys.path[:]
# As a program finds them that has no packages of its own.
if not all(trusted(d) for d in site.getsitepackages() if os.path.isdir(d)):
    sys.exit("the interpreter's packages are in %s, which others than root can change" % site.getsitepackages())
atexit.register(end)
site.main()
if not all(trusted(d) for d in sys.path if os.path.exists(d)):
    sys.exit("the interpreter's packages are in %s, which others than root can change" % sys.path)
customized = _frozen_importlib_external.PathFinder.find_spec("usercustomize") is not None
preload(filter(None, sock.recv(1 << 16).decode().split("\0")))
preloaded = sys.modules.keys() - {"__main__"}
others = any(
    getattr(m, "__file__", None) and not m.__file__.startswith(tuple(d + "/" for d in standard)) for m in list(sys.modules.values())
)
loaded = {name.partition(".")[0] for name in sys.modules} - STARTUP
begun = sys.modules["__main__"].__dict__
todo = [_functools.partial(serve)]
sys.__interactivehook__ = _functools.partial(list, map(_functools.partial.__call__, todo))
# Programs neither search what is here already nor write into it.
gc.collect()
libc.malloc_trim(0)
gc.freeze()
gc.disable()
sock.send(b"\0")
