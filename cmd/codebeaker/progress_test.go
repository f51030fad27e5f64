package main

import (
	"bytes"
	"strings"
	"testing"

	"codebeaker/images"
)

func TestProgressInALog(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out)
	base, python, golang := p.of(""), p.of("python"), p.of("go")
	for _, e := range []struct {
		to    images.Progress
		event images.Event
	}{
		{base, images.Event{Stage: images.StagePackages, Message: "downloading a"}},
		{base, images.Event{Stage: images.StagePackages, Message: "downloading b"}},
		{base, images.Event{Stage: images.StageLayer, Done: 1}},
		{python, images.Event{Stage: images.StagePackages}},
		{golang, images.Event{Stage: images.StagePackages}},
		{python, images.Event{Stage: images.StageLayer, Done: 1}},
		{golang, images.Event{Stage: images.StagePackages, Message: "downloading c"}},
		{python, images.Event{Stage: images.StageDone}},
	} {
		e.to(e.event)
	}
	p.finish()
	const want = "packages\nlayer\npython: packages\ngo: packages\npython: layer\npython: done\n"
	if out.String() != want {
		t.Errorf("it wrote:\n%swant:\n%s", out.String(), want)
	}
	if p.took("python") <= 0 || p.took("python") != p.works[1].took {
		t.Errorf("python took %s", p.took("python"))
	}
}

// screen is what a terminal shows after text with the codes that progress uses.
func screen(text string) []string {
	lines, row := []string{""}, 0
	for text != "" {
		switch {
		case strings.HasPrefix(text, "\x1b[J"):
			lines, text = append(lines[:row:row], ""), text[3:]
		case strings.HasPrefix(text, "\x1b["):
			n, rest, _ := strings.Cut(text[2:], "A")
			row, text = row-int(n[0]-'0'), rest
		case text[0] == '\r':
			text = text[1:]
		case text[0] == '\n':
			row, text = row+1, text[1:]
			if row == len(lines) {
				lines = append(lines, "")
			}
		default:
			lines[row] += text[:1]
			text = text[1:]
		}
	}
	return lines
}

func TestProgressOnATerminal(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out)
	p.width = 24
	shows := func(want ...string) {
		t.Helper()
		if got := strings.Join(screen(out.String()), "|"); got != strings.Join(append(want, ""), "|") {
			t.Errorf("the terminal shows %q; want %q", got, want)
		}
	}
	base, python, golang := p.of(""), p.of("python"), p.of("go")
	base(images.Event{Stage: images.StagePackages, Message: "downloading a"})
	shows("packages: downloading a")
	python(images.Event{Stage: images.StagePackages, Message: "downloading python3"})
	shows("python: packages: downl")
	golang(images.Event{Stage: images.StageUnpack, Done: 1, Total: 4})
	shows("python: packages: downl", "go: unpack 25%")
	python(images.Event{Stage: images.StageLayer})
	shows("python: layer", "go: unpack 25%")
	python(images.Event{Stage: images.StageDone})
	shows("go: unpack 25%")
	p.finish()
	shows()
}
