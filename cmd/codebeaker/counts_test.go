package main

import (
	"maps"
	"testing"

	"github.com/spf13/cobra"
)

func TestCountsAreReplacedByWhatWinsOverTheFile(t *testing.T) {
	_, path, err := decodeFile(t, "pool = 5\n[pool_languages]\npython = 4\ngo = 1\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		flag, env string
		want      counts
		err       bool
	}{
		{"", "", counts{"python": 4, "go": 1}, false},
		{"", "py=2", counts{"py": 2}, false},
		{"js=3,go=0", "py=2", counts{"js": 3, "go": 0}, false},
		{"", "python", nil, true},
		{"", "cobol=1", nil, true},
		{"", "go=-1", nil, true},
	} {
		t.Run(tc.flag+" "+tc.env, func(t *testing.T) {
			if tc.env != "" {
				t.Setenv("CODEBEAKER_POOL_LANGUAGES", tc.env)
			}
			cfg, cmd := &config{}, &cobra.Command{}
			cfg.bindHost(cmd.Flags())
			cfg.bindSandboxes(cmd.Flags())
			cfg.bindServe(cmd.Flags())
			args := []string{"--config", path}
			if tc.flag != "" {
				args = append(args, "--pool-languages", tc.flag)
			}
			if err := cmd.ParseFlags(args); err != nil {
				t.Fatal(err)
			}
			err := cfg.load(cmd)
			if (err != nil) != tc.err {
				t.Fatalf("load: %v", err)
			}
			if err == nil && (!maps.Equal(cfg.PoolLanguages, tc.want) || cfg.Pool != 5) {
				t.Errorf("pool %d, languages %v; want %v", cfg.Pool, cfg.PoolLanguages, tc.want)
			}
		})
	}
}

func TestPoolKnowsLanguagesByAnyName(t *testing.T) {
	cfg, cmd := &config{}, &cobra.Command{}
	cfg.bindHost(cmd.Flags())
	cfg.bindSandboxes(cmd.Flags())
	cfg.bindServe(cmd.Flags())
	if err := cmd.ParseFlags([]string{"--pool-languages", "py=2", "--pool-memory-mb", "64"}); err != nil {
		t.Fatal(err)
	}
	if err := cfg.load(cmd); err != nil {
		t.Fatal(err)
	}
	o := cfg.pool()
	if o.Languages["python"] != 2 || o.Size != 128 || o.MemoryBytes != 64<<20 || o.Min != 1 {
		t.Errorf("pool %+v", o)
	}
}
