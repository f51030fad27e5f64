package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"codebeaker/images"
	"codebeaker/runtime/engine"
	"codebeaker/runtime/shim"
	"codebeaker/session"
)

// envPrefix begins the name of every variable that stands for an option.
const envPrefix = "CODEBEAKER_"

// config is what the options say. An option's name is its flag; with the
// prefix, in capitals and with underscores, its environment variable; and with
// underscores its key in the configuration file. A flag wins over the
// environment, and that over the file. Only the file has tables, but for one that
// is a list of numbers in the others.
type config struct {
	// Of every command that touches the host.
	Root       string `toml:"root"`
	State      string `toml:"state"`
	Containerd string `toml:"containerd"`
	Namespace  string `toml:"namespace"`
	ImageMB    int64  `toml:"image_limit_mb"`
	LogLevel   string `toml:"log_level"`
	LogFormat  string `toml:"log_format"`

	// Of every command that runs sandboxes.
	Runc            string   `toml:"runc"`
	Agent           string   `toml:"agent"`
	Runtime         string   `toml:"runtime"`
	CgroupParent    string   `toml:"cgroup_parent"`
	MaxSessions     int      `toml:"max_sessions"`
	SessionsPerShim int      `toml:"sessions_per_shim"`
	CreateTimeout   duration `toml:"create_timeout"`
	ExecTimeout     duration `toml:"exec_timeout"`

	// Of what runs Python.
	Zygote        bool     `toml:"zygote"`
	ZygotePreload []string `toml:"zygote_preload"`

	// Of what programs print.
	OutputFileMB   int64    `toml:"output_file_mb"`
	OutputTotalMB  int64    `toml:"output_total_mb"`
	OutputLimitMB  int64    `toml:"output_limit_mb"`
	KeepExecutions duration `toml:"keep_executions"`

	// Of serve.
	Listen       string   `toml:"listen"`
	AllowOrigins []string `toml:"allow_origin"`
	DrainTimeout duration `toml:"drain_timeout"`
	MessagesMB   int64    `toml:"messages_mb"`

	// Of serve's warm pool.
	Pool          int      `toml:"pool"`
	PoolMin       int      `toml:"pool_min"`
	PoolLanguages counts   `toml:"pool_languages"`
	PoolMemoryMB  int64    `toml:"pool_memory_mb"`
	PoolWindow    duration `toml:"pool_window"`
	PoolKeep      duration `toml:"pool_keep"`

	// Of the file alone.
	Languages  map[string]languageConfig `toml:"languages"`
	Registries map[string]registryConfig `toml:"registries"`

	catalogue *images.Catalogue // of all languages, once loaded
}

// bindHost adds the options of commands that touch the host.
func (c *config) bindHost(f *pflag.FlagSet) {
	f.String("config", "", "configuration `file` in TOML; its keys are these options with underscores")
	f.StringVar(&c.Root, "root", "/var/lib/codebeaker", "`directory` for what lasts: images and their snapshots")
	f.StringVar(&c.State, "state", "/run/codebeaker", "`directory` for what a reboot may take: sockets, FIFOs")
	f.StringVar(&c.Containerd, "containerd", "", "`address` of a containerd to use instead of the embedded one")
	f.StringVar(&c.Namespace, "namespace", engine.DefaultNamespace, "containerd `namespace`")
	f.Int64Var(&c.ImageMB, "image-limit-mb", 16384, "`MiB` that a pulled or imported image may take, unpacked")
	f.StringVar(&c.LogLevel, "log-level", "info", "least `level` to log: debug, info, warn or error")
	f.StringVar(&c.LogFormat, "log-format", "text", "`format` of the log: text or json")
}

// bindSandboxes adds the options of commands that run sandboxes.
func (c *config) bindSandboxes(f *pflag.FlagSet) {
	f.StringVar(&c.Runc, "runc", "", "runc's `path` (default: beside this program, then in PATH)")
	f.StringVar(&c.Agent, "agent", "", "codebeaker-agent's `path` (default: beside this program)")
	f.StringVar(&c.Runtime, "runtime", "", "containerd `runtime`: "+shim.Name+", in which a session's first process starts its programs, and "+shim.StockName+", which starts runc for each, are built in; others are a name or an absolute path (default: "+shim.Name+")")
	f.StringVar(&c.CgroupParent, "cgroup-parent", "/codebeaker", "`cgroup` of all sessions")
	f.IntVar(&c.SessionsPerShim, "sessions-per-shim", 16, "sessions that one shim of "+shim.Name+" serves, which all end where it crashes; 1 for a shim for each")
	f.IntVar(&c.MaxSessions, "max-sessions", 256, "sessions at one time")
	bindDuration(f, &c.CreateTimeout, "create-timeout", time.Minute, "how long it may take to make a session, or a container of the pool, after which it is given up and removed")
	bindDuration(f, &c.ExecTimeout, "exec-timeout", 5*time.Minute, "time limit of a program that asks for none")
	f.BoolVar(&c.Zygote, "zygote", true, "fork Python programs from an interpreter in the session that has its modules loaded; only with --runtime "+shim.Name)
	f.StringSliceVar(&c.ZygotePreload, "zygote-preload", defaultPreload(), "`modules` that it loads, as far as the image has them")
	f.Int64Var(&c.OutputFileMB, "output-file-mb", 64, "`MiB` of each stream of a program that are kept, those over 1 MiB in a file below --root; 0 for no files")
	f.Int64Var(&c.OutputTotalMB, "output-total-mb", 4096, "`MiB` of all these files together; output beyond is kept up to 1 MiB a stream")
	f.Int64Var(&c.OutputLimitMB, "output-limit-mb", 0, "`MiB` after which a program that prints more is ended; 0 for no limit")
	bindDuration(f, &c.KeepExecutions, "keep-executions", 10*time.Minute, "how long the output of a program can be read after its end")
}

// bindServe adds the options of the server.
func (c *config) bindServe(f *pflag.FlagSet) {
	f.StringVar(&c.Listen, "listen", defaultListen, "`address` to serve on; anyone who can connect to it can run programs")
	f.StringSliceVar(&c.AllowOrigins, "allow-origin", nil, "`origin` from which browsers may connect, such as https://app.example.com; * for all")
	f.Int64Var(&c.MessagesMB, "messages-mb", min(max(hostMemoryMB()/16, 64), 1024), "`MiB` that messages from clients and the replies to them may take together; more waits for its turn. A sixteenth of this host's unless given, from 64 to 1024")
	bindDuration(f, &c.DrainTimeout, "drain-timeout", 10*time.Second, "how long running commands may take to end at shutdown")
	c.bindPool(f)
}

// bindPool adds the options of the server's warm pool.
func (c *config) bindPool(f *pflag.FlagSet) {
	f.IntVar(&c.Pool, "pool", 128, "most containers that are kept ready, of all languages together, so that sessions need not wait for their start; 0 for none")
	f.IntVar(&c.PoolMin, "pool-min", 1, "containers that are kept ready for a language that was used within --pool-keep; with more sessions at one time, more are")
	f.Var(&c.PoolLanguages, "pool-languages", "`containers` that are kept ready from the start on, and no others, of a language: python=4,go=0")
	f.Int64Var(&c.PoolMemoryMB, "pool-memory-mb", hostMemoryMB()/8, "`MiB` that containers kept ready may take, each counted as 16; an eighth of this host's unless given")
	bindDuration(f, &c.PoolWindow, "pool-window", 10*time.Minute, "for how long the creates of a burst are expected again")
	bindDuration(f, &c.PoolKeep, "pool-keep", time.Hour, "how long after its last use a language still has --pool-min")
}

// load completes the options that cmd's flags do not set from the environment
// and the configuration file.
func (c *config) load(cmd *cobra.Command) error {
	flags := cmd.Flags()
	set := map[string]string{}
	var lists []func()
	flags.Visit(func(f *pflag.Flag) {
		if s, ok := f.Value.(pflag.SliceValue); ok {
			values := s.GetSlice()
			lists = append(lists, func() { _ = s.Replace(values) }) // values it gave
			return
		}
		set[f.Name] = f.Value.String()
	})
	path := set["config"]
	if path == "" {
		path = os.Getenv(envPrefix + "CONFIG")
	}
	if path != "" {
		if err := c.decode(path); err != nil {
			return err
		}
	}
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		name := envPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, given := os.LookupEnv(name)
		if text, ok := set[f.Name]; ok {
			value, given, name = text, true, "--"+f.Name
		} else if f.Changed {
			return
		}
		if given && f.Name != "help" && f.Name != "config" {
			if err := f.Value.Set(value); err != nil {
				errs = append(errs, fmt.Errorf("read %s: %w", name, err))
			}
		}
	})
	for _, restore := range lists {
		restore()
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	var err error
	if c.catalogue, err = c.newCatalogue(); err != nil {
		return err
	}
	return c.check()
}

func (c *config) decode(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	decoder := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields()
	err = decoder.Decode(c)
	var unknown *toml.StrictMissingError
	var wrong *toml.DecodeError
	switch {
	case errors.As(err, &unknown):
		var all []error
		for _, e := range unknown.Errors {
			row, column := e.Position()
			all = append(all, fmt.Errorf("%s:%d:%d: no option %q", path, row, column, strings.Join(e.Key(), ".")))
		}
		return fmt.Errorf("read configuration: %w", errors.Join(all...))
	case errors.As(err, &wrong):
		row, column := wrong.Position()
		return fmt.Errorf("read configuration: %s:%d:%d: %s", path, row, column, strings.TrimPrefix(wrong.Error(), "toml: "))
	case err != nil:
		return fmt.Errorf("read configuration: %s: %w", path, err)
	}
	if err := reportMistakes(path, text, c.checkTables()); err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	return nil
}

// builtIn says whether the runtime is one of this program's own, which use runc.
func (c *config) builtIn() bool {
	return c.Runtime == "" || c.Runtime == shim.StockName || c.Runtime == shim.Name
}

func (c *config) check() error {
	for name, dir := range map[string]string{"root": c.Root, "state": c.State} {
		if !filepath.IsAbs(dir) {
			return fmt.Errorf("--%s %q: takes an absolute path", name, dir)
		}
	}
	if c.Root == c.State {
		return errors.New("--root and --state take different directories")
	}
	if c.MaxSessions < 0 {
		return fmt.Errorf("--max-sessions %d: takes a number above 0", c.MaxSessions)
	}
	if c.CreateTimeout < 0 || c.ExecTimeout < 0 || c.DrainTimeout < 0 || c.KeepExecutions < 0 {
		return errors.New("--create-timeout, --exec-timeout, --drain-timeout and --keep-executions take durations above 0")
	}
	if c.Pool < 0 || c.PoolMin < 0 || c.PoolMemoryMB < 0 || c.PoolWindow < 0 || c.PoolKeep < 0 {
		return errors.New("--pool, --pool-min, --pool-memory-mb, --pool-window and --pool-keep take what is not negative")
	}
	for _, name := range c.ZygotePreload {
		if !moduleName.MatchString(name) {
			return fmt.Errorf("--zygote-preload %q: takes names of modules", name)
		}
	}
	for language, n := range c.PoolLanguages {
		if _, ok := c.catalogue.Lookup(language); !ok || n < 0 {
			return fmt.Errorf("--pool-languages %s=%d: takes languages, each with a number from 0 on", language, n)
		}
	}
	const mostMB = 1 << 30
	for name, mb := range map[string]int64{"output-file-mb": c.OutputFileMB, "output-total-mb": c.OutputTotalMB, "output-limit-mb": c.OutputLimitMB} {
		if mb < 0 || mb > mostMB {
			return fmt.Errorf("--%s %d: takes a number from 0 to %d", name, mb, mostMB)
		}
	}
	_, err := c.logger(nil)
	return err
}

// hostMemoryMB returns the host's memory in MiB, 4096 where it cannot be told.
func hostMemoryMB() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 4096
	}
	return int64(info.Totalram) * int64(info.Unit) >> 20
}

// pool returns what the pool is to keep. Names of languages are the
// catalogue's.
func (c *config) pool() session.PoolOptions {
	o := session.PoolOptions{
		Size: c.Pool, Min: c.PoolMin, Languages: map[string]int{},
		MemoryBytes: c.PoolMemoryMB << 20, Window: time.Duration(c.PoolWindow), Keep: time.Duration(c.PoolKeep),
	}
	for name, n := range c.PoolLanguages {
		if lang, ok := c.catalogue.Lookup(name); ok {
			o.Languages[lang.Name] = n
		}
	}
	if c.PoolMemoryMB == 0 {
		o.Size = 0
	}
	return o
}

// moduleName is what names a module of Python.
var moduleName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}(\.[A-Za-z_][A-Za-z0-9_]{0,63}){0,7}$`)

// defaultPreload are modules that small programs often use.
func defaultPreload() []string {
	return []string{"collections", "datetime", "json", "math", "random", "re", "typing"}
}

// zygotes returns the modules that the zygotes load, by language; nil where
// there are none.
func (c *config) zygotes(can bool) map[string][]string {
	if !c.Zygote || !can {
		return nil
	}
	return map[string][]string{"python": c.ZygotePreload}
}

// logger returns the log that the options ask for.
func (c *config) logger(w *os.File) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return nil, fmt.Errorf("--log-level %q: takes debug, info, warn or error", c.LogLevel)
	}
	opts := &slog.HandlerOptions{Level: level}
	switch c.LogFormat {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	default:
		return nil, fmt.Errorf("--log-format %q: takes text or json", c.LogFormat)
	}
}
