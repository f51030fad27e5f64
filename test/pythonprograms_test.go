package test

// pythonPrograms look at all that a program can see of how it was started, and
// end in the ways in which it can end.
var pythonPrograms = map[string]string{
	"processors": "import os, sys; print(os.cpu_count(), os.process_cpu_count(), sys._xoptions, os.environ['OMP_NUM_THREADS'])",
	"arguments": `
import sys, os
print(sys.argv, sys.orig_argv[0], sys.orig_argv[2:], sys.executable, sys.path, os.getcwd())
print(__name__, __file__, __doc__, __package__, __spec__, type(__loader__), sorted(globals()), __builtins__)
`,
	"flags": `
import sys
print(sys.flags, sys.warnoptions, sys._xoptions, sys.dont_write_bytecode, sys.pycache_prefix, sys.prefix, sys.base_prefix)
print(sys.getdefaultencoding(), sys.getfilesystemencoding(), sys.getfilesystemencodeerrors(), sys.getrecursionlimit(), sys.getswitchinterval())
print([hasattr(sys, n) for n in ("ps1", "last_exc", "last_type", "__interactivehook__")], sys.excepthook, sys.displayhook, sys.gettrace(), sys.getprofile())
import gc
print(gc.isenabled(), gc.get_threshold(), gc.callbacks, gc.get_debug())
import warnings
print(warnings.filters)
import locale
print(locale.getpreferredencoding(), locale.setlocale(locale.LC_ALL))
`,
	"builtins": `
import builtins, site
print(sorted(dir(builtins)))
print(site.ENABLE_USER_SITE, site.USER_SITE, site.USER_BASE, site.PREFIXES)
print(exit, quit, copyright is not None, help)
`,
	"streams": `
import sys
for s in (sys.stdin, sys.stdout, sys.stderr):
    b = s.buffer
    print(s, s.name, s.mode, s.encoding, s.errors, s.newlines, s.line_buffering, s.write_through, s.isatty(), type(b), b.name, b.mode, getattr(b, "raw", b).closefd, s.fileno())
print(sys.stdin is sys.__stdin__, sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__)
`,
	"standard input": `
import sys
print(input("prompt "))
print(repr(sys.stdin.readline()), sys.stdin.buffer.read(), sys.stdin.read())
try:
    input()
except EOFError as e:
    print("EOF", e)
`,
	"lines of standard input": `
import sys
for line in sys.stdin:
    print(ascii(line))
`,
	"standard output": `
import sys, os
print("é\udcff", end="")
sys.stdout.buffer.write(b"\xff\n")
os.write(1, b"after\n")
print("x" * 100000)
sys.stderr.write("\udcff\n")
`,
	"environment": `
import os, subprocess, ctypes
print(*sorted(os.environ.items()), sep="\n")
print(subprocess.run(["env"], capture_output=True, text=True).stdout.split("\n").sort())
getenv = ctypes.CDLL(None).getenv
getenv.restype = ctypes.c_char_p
print(getenv(b"OWN"), getenv(b"EMPTY"), getenv(b"HOME"), getenv(b"LC_ALL"), os.path.expanduser("~"))
os.environ["NEW"] = "1"; del os.environ["OWN"]
print(getenv(b"NEW"), getenv(b"OWN"), subprocess.run(["sh", "-c", "echo $NEW $OWN"], capture_output=True).stdout)
`,
	"descriptors": `
import os
for fd in sorted(map(int, os.listdir("/proc/self/fd"))):
    try:
        print(fd, os.readlink("/proc/self/fd/%d" % fd).split(":")[0].split("/")[1:2], os.get_inheritable(fd))
    except OSError:
        print(fd, "that of the list")
print(os.readlink("/proc/self/exe"), open("/proc/self/comm").read(), os.readlink("/proc/self/cwd"), os.readlink("/proc/self/root"))
`,
	"process": `
import os, resource, signal
keep = ("Name", "Umask", "Uid", "Gid", "Groups", "NStgid", "Cap", "NoNewPrivs", "Seccomp", "Sig", "Shd", "Threads", "CoreDumping", "THP")
for line in open("/proc/self/status"):
    if line.startswith(keep) and not line.startswith(("NStgid", "SigQ")):
        print(line.strip())
print(os.stat("/proc/self").st_uid, os.access("/proc/self/mem", os.W_OK), oct(os.umask(0)))
print(os.getsid(0) == os.getpid() == os.getpgrp(), os.getppid(), os.getlogin if 0 else 0, os.getresuid(), os.getresgid(), os.getgroups())
for n in sorted(d for d in dir(resource) if d.startswith("RLIMIT_")):
    print(n, resource.getrlimit(getattr(resource, n)))
for s in sorted(signal.valid_signals()):
    print(s, signal.getsignal(s))
print(signal.pthread_sigmask(signal.SIG_BLOCK, []), open("/proc/self/oom_score_adj").read(), os.nice(0), os.sched_getscheduler(0), os.sched_getaffinity(0))
import ctypes
libc = ctypes.CDLL(None)
head, size = ctypes.c_ulong(), ctypes.c_ulong()
libc.syscall({"x86_64": 274, "aarch64": 100}[os.uname().machine], 0, ctypes.byref(head), ctypes.byref(size))
print(head.value != 0, size.value)  # of robust locks
print([libc.prctl(n, 0, 0, 0, 0) for n in (3, 7, 8, 21, 27, 30, 39)], libc.getpid() == libc.gettid() == os.getpid())
`,
	"clone3 is not there": `
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print(libc.syscall(435, None, 0), os.strerror(ctypes.get_errno()))
print(libc.unshare(0x10000000), os.strerror(ctypes.get_errno()))
print(libc.setuid(0), libc.setgid(0), libc.setgroups(0, None))
`,
	"frames": `
import sys, traceback, inspect, warnings, logging, faulthandler
def depth(f=None):
    f, n = sys._getframe(), 0
    while f:
        f, n = f.f_back, n + 1
    return n
print(depth(), len(inspect.stack()), sys._getframe().f_back)
traceback.print_stack()
warnings.warn("here", stacklevel=2)
warnings.warn("there", stacklevel=5)
logging.warning("logged")
try:
    sys._getframe(1)
except ValueError as e:
    print(e)
def deep(n):
    try:
        return deep(n + 1)
    except RecursionError:
        return n
print(deep(0))
faulthandler.dump_traceback()
import json
json.loads("{")
`,
	"traceback":               "def f():\n    1 / 0\ntry:\n    f()\nexcept Exception as e:\n    raise ValueError('wrong') from e\n",
	"group":                   "raise ExceptionGroup('all', [ValueError(1), TypeError(2)])\n",
	"note":                    "e = KeyError('k')\ne.add_note('a note')\nraise e\n",
	"hook":                    "import sys\nsys.excepthook = lambda *a: print('hook', a[0])\n1/0\n",
	"syntax error":            "print('not run')\nif x\n  pass\n",
	"indentation error":       "if 1:\npass\n",
	"declared encoding":       "# -*- coding: latin-1 -*-\nprint(ascii('\xe4'))\n",
	"unknown encoding":        "# -*- coding: nonsense -*-\nprint(1)\n",
	"byte order mark":         "\ufeffprint('bom')\n",
	"nothing":                 "",
	"no newline at the end":   "print(1)",
	"carriage returns":        "print(1)\r\nprint(2)\r\n",
	"syntax warning":          "print('\\d', 1 is 1)\n",
	"future":                  "from __future__ import annotations\ndef f(x: nowhere): pass\nprint(f.__annotations__)\n",
	"exit":                    "import sys\nsys.exit()\n",
	"exit with a code":        "import sys\nsys.exit(3)\n",
	"exit with a text":        "import sys\nsys.exit('a text')\n",
	"exit with a large code":  "raise SystemExit(259)\n",
	"exit with something":     "raise SystemExit([1, 2])\n",
	"exit by name":            "exit(4)\n",
	"exit in a function":      "import sys\ndef f():\n    try:\n        sys.exit(5)\n    finally:\n        print('finally')\nf()\n",
	"exit without cleanup":    "import os, atexit\natexit.register(print, 'never')\nos._exit(6)\n",
	"keyboard interrupt":      "raise KeyboardInterrupt\n",
	"interrupted":             "import os, signal, atexit\natexit.register(print, 'atexit')\nos.kill(os.getpid(), signal.SIGINT)\nprint('not reached')\n",
	"interrupted and ignored": "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nraise KeyboardInterrupt\n",
	"interrupt handled":       "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept KeyboardInterrupt:\n    print('handled')\n",
	"own interrupt":           "class K(KeyboardInterrupt): pass\nraise K\n",
	"aborted":                 "import os\nprint('before')\nos.abort()\n",
	"terminated":              "import signal\nsignal.raise_signal(signal.SIGTERM)\n",
	"segfault":                "import ctypes\nctypes.string_at(0)\n",
	"killed":                  "import os\nos.kill(os.getpid(), 9)\n",
	"recursion":               "def again(n):\n    again(n + 1)\nagain(0)\n",
	"system error at exit":    "import os\nos.close(1)\nprint('lost')\n",
	"closed output":           "import sys\nprint('x')\nsys.stdout.close()\n",
	"no output":               "import sys\nsys.stdout = None\nprint('lost')\n",
	"replaced output":         "import sys, io\nsys.stdout = io.StringIO()\nprint('lost')\n",
	"at exit": `
import atexit, weakref, sys, threading
class D:
    def __init__(self, n): self.n = n
    def __del__(self): print("del", self.n)
a, _b = D("a"), D("_b")
cycle = D("cycle"); cycle.me = cycle
atexit.register(print, "first")
atexit.register(lambda: 1 / 0)
atexit.register(print, "last")
weakref.finalize(a, print, "finalized")
def g():
    try:
        yield 1
    finally:
        print("generator")
h = g(); next(h)
f = open("/proc/self/fd/1", "w"); f.write("unflushed\n")
class Module: pass
sys.modules["own"] = Module()
threading.Timer(0.05, print, ["thread"]).start()
print("end")
`,
	"raising at exit": `
class D:
    def __del__(self): raise ValueError("in del")
d = D()
`,
	"importing at exit": `
class D:
    def __del__(self):
        try:
            import json
            print("imported")
        except ImportError as e:
            print(e)
d = D()
`,
	"threads": `
import threading, time, os
print(threading.current_thread(), threading.main_thread() is threading.current_thread(), threading.get_native_id() == os.getpid(), threading.active_count())
def work(n):
    time.sleep(0.02)
    print("thread", n)
all = [threading.Thread(target=work, args=(n,)) for n in range(3)]
for t in all: t.start(); t.join()
threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
threading.Thread(target=work, args=("late",)).start()
def fails(): 1 / 0
t = threading.Thread(target=fails, name="failing"); t.start(); t.join()
`,
	"thread pool": "from concurrent.futures import ThreadPoolExecutor as E\nwith E(4) as e: print(list(e.map(lambda x: x * x, range(9))))\n",
	"processes": `
import multiprocessing as m
def f(x): return x * x
if __name__ == "__main__":
    for how in "fork", "spawn", "forkserver":
        with m.get_context(how).Pool(2) as p:
            print(how, p.map(f, range(5)))
    q = m.Queue()
    p = m.Process(target=q.put, args=("from the child",)); p.start(); print(q.get()); p.join(); print(p.exitcode)
`,
	"forks": `
import os, sys
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    os.write(w, b"child")
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), os.read(r, 9))
print(os.spawnvp(os.P_WAIT, "sh", ["sh", "-c", "exit 8"]), os.system("exit 9") >> 8)
os.execvp("echo", ["echo", "replaced"])
`,
	"subprocess": `
import subprocess, sys
print(subprocess.run([sys.executable, "-c", "import sys; print(sys.flags, sys.path)"], capture_output=True, text=True))
print(subprocess.run(["sh", "-c", "trap '' INT; cat /proc/self/status | grep Sig[BI]; ls -l /proc/self/fd | wc -l"], capture_output=True, text=True))
`,
	"asyncio": `
import asyncio
async def main():
    p = await asyncio.create_subprocess_exec("echo", "hi", stdout=asyncio.subprocess.PIPE)
    print(await p.communicate(), await asyncio.gather(*(asyncio.sleep(0.01, n) for n in range(3))))
asyncio.run(main())
`,
	"pickle": "import pickle\nclass C:\n    pass\nprint(pickle.loads(pickle.dumps(C())).__class__, C.__module__)\nimport __main__\nprint(__main__.C is C)\n",
	"imports": `
import importlib.util, sys, types
for n in ("sitecustomize", "usercustomize", "numpy", "pip", "setuptools"):
    print(n, importlib.util.find_spec(n) is not None)
print(sys.meta_path, sys.path_hooks)
open("ownmodule.py", "w").write("value = __name__, __file__, __spec__.origin\n")
import ownmodule, os
print(ownmodule.value, ownmodule.__cached__, os.stat(ownmodule.__cached__).st_uid)
import shutil
shutil.rmtree("__pycache__"); os.remove("ownmodule.py")
try:
    import nothing_of_this_name
except ImportError as e:
    print(e, type(e))
import this
`,
	"time":       "import time, os\nos.environ['TZ'] = 'Asia/Tokyo'\ntime.tzset()\nprint(time.tzname, time.timezone)\n",
	"numbers":    "import decimal, fractions, math, cmath\nprint(decimal.getcontext(), fractions.Fraction(1, 3), math.pi)\n",
	"unraisable": "import sys\nsys.unraisablehook = lambda u: print('hook', u.exc_type)\nclass D:\n    def __del__(self): 1/0\nD()\n",
}
