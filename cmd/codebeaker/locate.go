package main

import (
	"slices"

	"github.com/pelletier/go-toml/v2/unstable"
)

// locate returns the line and the column, both from 1, at which a valid TOML
// document has the value of a key; the key itself where the value is a table or
// an array, but for an element of the array whose number is not negative. Where
// the document lacks the last parts of the key, it is where the table is that
// lacks them.
func locate(document []byte, key []string, element int) (row, column int) {
	l := locator{key: key, element: element, found: -1}
	l.parser.Reset(document)
	var table []string
	for l.parser.NextExpression() {
		switch e := l.parser.Expression(); e.Kind {
		case unstable.Table, unstable.ArrayTable:
			var at unstable.Range
			table, at = parts(e)
			l.see(table, at)
		case unstable.KeyValue:
			l.keyValue(table, e)
		default: // a comment
		}
	}
	if l.found < 0 {
		return 1, 1
	}
	start := l.parser.Shape(l.at).Start
	return start.Line, start.Column
}

// locator looks for a key in a document.
type locator struct {
	parser  unstable.Parser
	key     []string
	element int

	found int // how many parts of the key were found, or less than 0
	at    unstable.Range
}

// see takes notice of a key's place where it leads further to the one that is
// looked for than those before.
func (l *locator) see(key []string, at unstable.Range) {
	if len(key) > len(l.key) || !slices.Equal(key, l.key[:len(key)]) || len(key) <= l.found {
		return
	}
	l.found, l.at = len(key), at
}

func (l *locator) keyValue(table []string, e *unstable.Node) {
	own, at := parts(e)
	key := slices.Concat(table, own)
	l.see(key, at)
	value := e.Value()
	if value.Kind == unstable.InlineTable {
		for inner := value.Children(); inner.Next(); {
			l.keyValue(key, inner.Node())
		}
		return
	}
	if !slices.Equal(key, l.key) {
		return
	}
	if value.Raw.Length > 0 {
		l.at = value.Raw
	}
	if value.Kind != unstable.Array || l.element < 0 {
		return
	}
	i := 0
	for elements := value.Children(); elements.Next(); {
		if n := elements.Node(); n.Kind != unstable.Comment {
			if i == l.element && n.Raw.Length > 0 {
				l.at = n.Raw
			}
			i++
		}
	}
}

// parts returns the parts of a node's key and the place of the last.
func parts(e *unstable.Node) (key []string, at unstable.Range) {
	for k := e.Key(); k.Next(); {
		key = append(key, string(k.Node().Data))
		at = k.Node().Raw
	}
	return key, at
}
