package main

import (
	"time"

	"github.com/spf13/pflag"
)

// duration is an option such as "10m". The configuration file has it as a
// string, which a time.Duration cannot be.
type duration time.Duration

// bindDuration adds an option.
func bindDuration(f *pflag.FlagSet, d *duration, name string, value time.Duration, usage string) {
	*d = duration(value)
	f.Var(d, name, usage)
}

// Set is for flags and the environment.
func (d *duration) Set(text string) error {
	value, err := time.ParseDuration(text)
	if err == nil {
		*d = duration(value)
	}
	return err
}

// UnmarshalText is for the configuration file.
func (d *duration) UnmarshalText(text []byte) error { return d.Set(string(text)) }

func (d *duration) String() string { return time.Duration(*d).String() }

// Type stands for the value in help.
func (*duration) Type() string { return "duration" }
