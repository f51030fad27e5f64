package metrics

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
)

var update = flag.Bool("update", false, "write the table of docs/metrics.md anew")

const (
	documentPath  = "../../../../docs/metrics.md"
	dashboardPath = "../../../../packaging/grafana-dashboard.json"
)

func TestNamesFollowPrometheusConventions(t *testing.T) {
	problems, err := promlint.New(strings.NewReader(scrape(t, busy()))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// labels are the names of a family's labels, sorted.
func labels(f *dto.MetricFamily) []string {
	names := map[string]bool{}
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			names[l.GetName()] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// TestDocumentListsAllMetrics compares the table of the document with what is
// served. With -update it writes it.
func TestDocumentListsAllMetrics(t *testing.T) {
	all := families(t, scrape(t, busy()))
	table := "| metric | type | labels | what it says |\n|---|---|---|---|\n"
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !strings.HasPrefix(name, namespace+"_") {
			continue
		}
		f := all[name]
		kind := strings.ToLower(f.GetType().String())
		table += fmt.Sprintf("| `%s` | %s | %s | %s |\n", name, kind, strings.Join(labels(f), ", "), f.GetHelp())
	}
	text, err := os.ReadFile(documentPath)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), "| metric |")
	if !ok {
		t.Fatalf("%s has no table of metrics", documentPath)
	}
	_, after, _ := strings.Cut(rest, "\n\n")
	want := before + table + "\n" + after
	if *update {
		if err := os.WriteFile(documentPath, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(text) != want {
		t.Errorf("%s does not have the table of the code; make docs writes it:\n%s", documentPath, table)
	}
}

// dashboard is what a Grafana dashboard asks Prometheus for.
type dashboard struct {
	Panels []struct {
		Title   string
		Targets []struct{ Expr string }
	}
	Templating struct{ List []struct{ Query any } }
}

// queries returns the expressions of the dashboard, by what they are for.
func queries(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(dashboardPath)
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, p := range d.Panels {
		for i, target := range p.Targets {
			all[fmt.Sprintf("%s, query %d", p.Title, i+1)] = target.Expr
		}
	}
	for i, v := range d.Templating.List {
		if query, ok := v.Query.(string); ok && strings.HasPrefix(query, "label_values") {
			all[fmt.Sprintf("variable %d", i+1)] = query
		}
	}
	return all
}

// asked are the names of metrics in an expression, with the labels that it
// selects by and groups by.
func asked(expr string) (names, labels []string) {
	names = regexp.MustCompile(`\b(?:codebeaker|process|go)_\w+`).FindAllString(expr, -1)
	for _, selector := range regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"`).FindAllStringSubmatch(expr, -1) {
		labels = append(labels, selector[1])
	}
	for _, group := range regexp.MustCompile(`\b(?:by|without|on)\s*\(([^)]*)\)`).FindAllStringSubmatch(expr, -1) {
		for name := range strings.SplitSeq(group[1], ",") {
			if name = strings.TrimSpace(name); name != "" {
				labels = append(labels, name)
			}
		}
	}
	return names, labels
}

// known says what is wrong with an expression where this is served.
func known(all map[string]*dto.MetricFamily, expr string) error {
	names, wanted := asked(expr)
	if len(names) == 0 {
		return fmt.Errorf("it asks for no metric")
	}
	// Prometheus adds these.
	have := []string{"job", "instance"}
	for _, name := range names {
		f, ok := all[name]
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, cut := strings.CutSuffix(name, suffix); cut && !ok {
				if f, ok = all[base]; ok && f.GetType() == dto.MetricType_HISTOGRAM {
					have = append(have, "le")
				} else {
					ok = false
				}
			}
		}
		if !ok {
			return fmt.Errorf("there is no metric %s", name)
		}
		have = append(have, labels(f)...)
	}
	for _, label := range wanted {
		if !slices.Contains(have, label) {
			return fmt.Errorf("none of %s has a label %s", strings.Join(names, ", "), label)
		}
	}
	return nil
}

func TestDashboardAsksForWhatThereIs(t *testing.T) {
	all := families(t, scrape(t, busy()))
	exprs := queries(t)
	if len(exprs) < 20 {
		t.Errorf("found %d queries", len(exprs))
	}
	text := ""
	for where, expr := range exprs {
		if err := known(all, expr); err != nil {
			t.Errorf("%s: %s: %v", where, expr, err)
		}
		text += expr + "\n"
	}
	// The other way round: what is worth measuring is worth a look.
	for name := range all {
		if strings.HasPrefix(name, namespace+"_") && name != namespace+"_build_info" && !strings.Contains(text, name) {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
	for _, mistaken := range []string{
		`codebeaker_session`, `codebeaker_sessions_bucket`, `codebeaker_sessions{status="Active"}`,
		`sum by (state) (codebeaker_sessions_max)`, `sum by (le) (codebeaker_sessions)`, `vector(1)`,
	} {
		if known(all, mistaken) == nil {
			t.Errorf("it finds nothing wrong with %s", mistaken)
		}
	}
}
