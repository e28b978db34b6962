package promtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// Catalogue has the labels of every series that an expression may name.
type Catalogue map[string][]string

// target has the labels that come with being scraped.
var target = []string{"instance", "job", "pod"}

// Exported returns the series that the daemon exports, and those that
// Prometheus adds to any target. It reads docs/metrics.md, which the daemon's
// own tests hold to its /metrics.
func Exported(t testing.TB) Catalogue {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join(Root(t), "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	c := Catalogue{"up": nil}
	row := regexp.MustCompile("(?m)^\\| `(chatwoot_sla_[a-z_]+)` \\| (\\w+) \\| (.*?) \\|")
	label := regexp.MustCompile("`(\\w+)`")
	for _, m := range row.FindAllStringSubmatch(string(doc), -1) {
		name, kind := m[1], m[2]
		var names []string
		for _, l := range label.FindAllStringSubmatch(m[3], -1) {
			names = append(names, l[1])
		}
		if kind != "histogram" {
			c[name] = names
			continue
		}
		c[name+"_bucket"] = append([]string{model.BucketLabel}, names...)
		c[name+"_sum"], c[name+"_count"] = names, names
	}
	if len(c) < 10 {
		t.Fatalf("docs/metrics.md names %d metrics; has its form changed?", len(c))
	}
	return c
}

// Vet reports a metric or label of an expression that c does not know.
func (c Catalogue) Vet(expr string) error {
	_, err := c.Labels(expr)
	return err
}

// Labels returns the labels that the result of an expression may have, beside
// those of the scrape. The error is that of Vet.
func (c Catalogue) Labels(expr string) ([]string, error) {
	e, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", expr, err)
	}
	names, err := c.labels(e)
	slices.Sort(names)
	return slices.Compact(names), err
}

// labels returns the labels that the series of an expression may have.
func (c Catalogue) labels(e parser.Expr) ([]string, error) {
	switch e := e.(type) {
	case *parser.VectorSelector:
		return c.selector(e)
	case *parser.MatrixSelector:
		return c.labels(e.VectorSelector)
	case *parser.SubqueryExpr:
		return c.labels(e.Expr)
	case *parser.ParenExpr:
		return c.labels(e.Expr)
	case *parser.StepInvariantExpr:
		return c.labels(e.Expr)
	case *parser.UnaryExpr:
		return c.labels(e.Expr)
	case *parser.AggregateExpr:
		has, err := c.labels(e.Expr)
		if err != nil {
			return nil, err
		}
		if e.Param != nil {
			if _, err := c.labels(e.Param); err != nil {
				return nil, err
			}
		}
		if err := known(e.Grouping, has, "groups by", e.Expr); err != nil {
			return nil, err
		}
		switch {
		case e.Op == parser.TOPK || e.Op == parser.BOTTOMK:
			return has, nil
		case e.Op == parser.COUNT_VALUES:
			return append(slices.Clone(e.Grouping), e.Param.(*parser.StringLiteral).Val), nil
		case e.Without:
			return slices.DeleteFunc(slices.Clone(has), func(l string) bool { return slices.Contains(e.Grouping, l) }), nil
		}
		return e.Grouping, nil
	case *parser.BinaryExpr:
		return c.binary(e)
	case *parser.Call:
		return c.call(e)
	case *parser.NumberLiteral, *parser.StringLiteral:
		return nil, nil
	}
	return nil, fmt.Errorf("%s: cannot judge a %T", e, e)
}

func (c Catalogue) selector(s *parser.VectorSelector) ([]string, error) {
	has, ok := c[s.Name]
	if !ok {
		return nil, fmt.Errorf("%s is not exported (docs/metrics.md has what is)", s)
	}
	has = append(slices.Clone(has), target...)
	for _, m := range s.LabelMatchers {
		if m.Name != model.MetricNameLabel && !slices.Contains(has, m.Name) {
			return nil, fmt.Errorf("%s: %s has no label %q, only %s", s, s.Name, m.Name, strings.Join(has, ", "))
		}
	}
	return has, nil
}

func (c Catalogue) binary(e *parser.BinaryExpr) ([]string, error) {
	l, lerr := c.labels(e.LHS)
	r, rerr := c.labels(e.RHS)
	if err := errors.Join(lerr, rerr); err != nil || e.VectorMatching == nil {
		return append(slices.Clone(l), r...), err
	}
	m := e.VectorMatching
	if m.On {
		lerr, rerr = known(m.MatchingLabels, l, "matches on", e.LHS), known(m.MatchingLabels, r, "matches on", e.RHS)
		if err := errors.Join(lerr, rerr); err != nil {
			return nil, err
		}
	} else if err := known(m.MatchingLabels, append(slices.Clone(l), r...), "ignores", e); err != nil {
		return nil, err // one side has it, that is why the other ignores it
	}
	switch m.Card {
	case parser.CardManyToOne:
		return append(slices.Clone(l), m.Include...), known(m.Include, r, "takes over", e.RHS)
	case parser.CardOneToMany:
		return append(slices.Clone(r), m.Include...), known(m.Include, l, "takes over", e.LHS)
	case parser.CardOneToOne:
		if m.On {
			return m.MatchingLabels, nil
		}
	}
	if e.Op == parser.LOR {
		return append(slices.Clone(l), r...), nil
	}
	return l, nil
}

func (c Catalogue) call(e *parser.Call) ([]string, error) {
	var has []string
	for _, a := range e.Args {
		l, err := c.labels(a)
		if err != nil {
			return nil, err
		}
		has = append(has, l...)
	}
	if e.Func.Name == "label_replace" || e.Func.Name == "label_join" {
		has = append(has, e.Args[1].(*parser.StringLiteral).Val)
	}
	if e.Func.Name == "histogram_quantile" {
		has = slices.DeleteFunc(has, func(l string) bool { return l == model.BucketLabel })
	}
	return has, nil
}

func known(names, has []string, does string, e parser.Expr) error {
	for _, n := range names {
		if !slices.Contains(has, n) {
			return fmt.Errorf("an expression %s the label %q, which %s has not: only %q", does, n, e, has)
		}
	}
	return nil
}
