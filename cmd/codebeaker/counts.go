package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// counts is an option with a number for each name: "python=4,go=0". In the
// configuration file it is a table.
type counts map[string]int

// String is what Set takes.
func (c *counts) String() string {
	pairs := make([]string, 0, len(*c))
	for name, n := range *c {
		pairs = append(pairs, name+"="+strconv.Itoa(n))
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}

// Set replaces all numbers.
func (c *counts) Set(text string) error {
	all := counts{}
	for pair := range strings.SplitSeq(text, ",") {
		if pair == "" {
			continue
		}
		name, number, _ := strings.Cut(pair, "=")
		n, err := strconv.Atoi(number)
		if err != nil || name == "" {
			return fmt.Errorf("%q is not of the form name=number", pair)
		}
		all[name] = n
	}
	*c = all
	return nil
}

// Type stands for the value in help.
func (*counts) Type() string { return "name=number" }
