package backtest

import (
	"fmt"
	"io"
	"math/bits"
	"time"
)

// Published is a row of the book's table for the week from 2018-08-08.
type Published struct {
	Name string
	Metrics
}

// Book is the results that the Fraud Detection Handbook publishes for its test week,
// 2018-08-08 to 14, and the most that any detector can reach there.
func Book() []Published {
	return []Published{
		{"logistic regression", Metrics{0.871, 0.606, 0.291}},
		{"decision tree, depth 2", Metrics{0.763, 0.496, 0.241}},
		{"decision tree, unlimited", Metrics{0.788, 0.309, 0.243}},
		{"random forest", Metrics{0.867, 0.658, 0.287}},
		{"XGBoost", Metrics{0.862, 0.639, 0.273}},
		{"best tuned", Metrics{0.879, 0.687, 0.305}},
		{"the most there can be", Metrics{1, 1, 0.397}},
	}
}

// BookTestStart is when the book's test week begins, ms since the epoch.
func BookTestStart() int64 { return time.Date(2018, time.August, 8, 0, 0, 0, 0, time.UTC).UnixMilli() }

// Report is the measured test.
type Report struct {
	Protocol   Protocol
	Set        []int // places of its rows
	Frauds     int
	Scenarios  []ScenarioReport // of those that there are
	Score      Metrics
	RulesOnly  Metrics
	Curve      Curve
	Days       []float64 // card precision
	Rules      []RuleReport
	Most       float64 // card precision that cannot be exceeded
	Comparison *Comparison
	result     *Result
}

// ScenarioReport is how one scenario's frauds do against what is genuine.
type ScenarioReport struct {
	Name    string
	Frauds  int
	Metrics     // without the frauds of the other scenarios
	Found   int // frauds on cards that were among the day's top 100
	Flagged int
}

// RuleReport is what a rule did in the test.
type RuleReport struct {
	ID          string
	Fired, Hits int
}

// Comparison is what the rules of Config.Against change in the test.
type Comparison struct {
	Score, RulesOnly                Metrics
	Rules                           []RuleReport
	FraudsWon, FraudsLost           int // flagged by the others only, and no longer
	FalseAlarmsWon, FalseAlarmsLost int // no longer flagged, and flagged by the others only
}

func byScore(r *Row) float64 { return r.Score }
func byRules(r *Row) float64 { return r.RuleScore }

// NewReport measures a test. It is an error when there is nothing to measure.
func NewReport(result *Result, p Protocol) (*Report, error) {
	if len(result.Rows) == 0 {
		return nil, fmt.Errorf("no transaction was scored; %d records are no valid transactions, or were written twice", result.Refused)
	}
	r := &Report{Protocol: p, Set: p.TestSet(result.Rows), result: result}
	if len(r.Set) == 0 {
		return nil, fmt.Errorf("there are no transactions from %s on for %d days", date(p.TestStart), p.Days)
	}
	for _, i := range r.Set {
		if result.Rows[i].Fraud {
			r.Frauds++
		}
	}
	if r.Frauds == 0 {
		return nil, fmt.Errorf("none of the %d transactions from %s on is labelled as fraud", len(r.Set), date(p.TestStart))
	}
	r.Score, r.Curve, r.Days = measure(result.Rows, r.Set, byScore)
	r.RulesOnly, _, _ = measure(result.Rows, r.Set, byRules)
	perfect, _, _ := measure(result.Rows, r.Set, func(r *Row) float64 {
		if r.Fraud {
			return 1
		}
		return 0
	})
	r.Most = perfect.CP
	r.Rules = ruleReports(result.Rows, r.Set, result.Rules)
	r.scenarios()
	if len(result.Other) > 0 {
		r.Comparison = r.compare()
	}
	return r, nil
}

func (r *Report) scenarios() {
	rows := r.result.Rows
	top := topCards(rows, r.Set)
	for n, name := range Scenarios() {
		s := ScenarioReport{Name: name}
		var set []int
		for _, i := range r.Set {
			row := &rows[i]
			if row.Fraud && int(row.Scenario) != n {
				continue
			}
			set = append(set, i)
			if !row.Fraud {
				continue
			}
			s.Frauds++
			if row.Flagged {
				s.Flagged++
			}
			if top[cardDay{row.Customer, row.Time / day}] {
				s.Found++
			}
		}
		if s.Frauds == 0 {
			continue
		}
		s.Metrics, _, _ = measure(rows, set, byScore)
		r.Scenarios = append(r.Scenarios, s)
	}
}

func ruleReports(rows []Row, set []int, rules []Rule) []RuleReport {
	reports := make([]RuleReport, len(rules))
	for n, rule := range rules {
		reports[n].ID = rule.ID
	}
	for _, i := range set {
		for fired := rows[i].Fired; fired != 0; fired &= fired - 1 {
			report := &reports[bits.TrailingZeros64(fired)]
			report.Fired++
			if rows[i].Fraud {
				report.Hits++
			}
		}
	}
	return reports
}

func (r *Report) compare() *Comparison {
	own, other := r.result.Rows, r.result.Other
	c := &Comparison{Rules: ruleReports(other, r.Set, r.result.OtherRules)}
	c.Score, _, _ = measure(other, r.Set, byScore)
	c.RulesOnly, _, _ = measure(other, r.Set, byRules)
	for _, i := range r.Set {
		switch a, b := &own[i], &other[i]; {
		case a.Flagged == b.Flagged:
		case a.Fraud && b.Flagged:
			c.FraudsWon++
		case a.Fraud:
			c.FraudsLost++
		case a.Flagged:
			c.FalseAlarmsWon++
		default:
			c.FalseAlarmsLost++
		}
	}
	return c
}

func date(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.DateOnly) }

// Print writes the report for a person.
func (r *Report) Print(w io.Writer) {
	p := r.Protocol
	fmt.Fprintf(w, "test %s to %s: %d transactions, %d frauds; cards known to be bad are left out\n\n",
		date(p.TestStart), date(p.TestStart+int64(p.Days-1)*day), len(r.Set), r.Frauds)
	line := func(name string, m Metrics) { fmt.Fprintf(w, "  %-28s %7.3f %7.3f %7.3f\n", name, m.AUC, m.AP, m.CP) }
	fmt.Fprintf(w, "  %-28s %7s %7s %7s\n", "", "AUC ROC", "avg.pr.", "CP@100")
	line("DataSurge", r.Score)
	line("DataSurge, rules alone", r.RulesOnly)
	if r.isBook() {
		for _, row := range Book() {
			line("book: "+row.Name, row.Metrics)
		}
	} else {
		line("the most there can be", Metrics{1, 1, r.Most})
		if r.result.Book {
			fmt.Fprintln(w, "  (the book's rows are for the week from 2018-08-08)")
		}
	}
	fmt.Fprintf(w, "\n  %-28s %7s %7s %7s %7s %9s %7s\n", "scenario", "frauds", "AUC ROC", "avg.pr.", "CP@100", "in top100", "flagged")
	for _, s := range r.Scenarios {
		fmt.Fprintf(w, "  %-28s %7d %7.3f %7.3f %7.3f %9d %7d\n", s.Name, s.Frauds, s.AUC, s.AP, s.CP, s.Found, s.Flagged)
	}
	printRules(w, "rule", r.Rules)
	fmt.Fprintf(w, "\n%s\n", r.History())
	if n := r.result.Refused; n > 0 {
		fmt.Fprintf(w, "%d records of the topic are not counted: they are no valid transactions, or were written twice.\n", n)
	}
	if c := r.Comparison; c != nil {
		fmt.Fprintf(w, "\nwith the rules of --against:\n\n")
		line("DataSurge", c.Score)
		line("DataSurge, rules alone", c.RulesOnly)
		printRules(w, "rule", c.Rules)
		fmt.Fprintf(w, "\n  %d more frauds are flagged and %d no longer; %d false alarms are gone and %d are new\n",
			c.FraudsWon, c.FraudsLost, c.FalseAlarmsWon, c.FalseAlarmsLost)
	}
}

func printRules(w io.Writer, title string, rules []RuleReport) {
	fmt.Fprintf(w, "\n  %-28s %7s %7s %9s\n", title, "fired", "hits", "precision")
	for _, rule := range rules {
		precision := "-"
		if rule.Fired > 0 {
			precision = fmt.Sprintf("%.3f", float64(rule.Hits)/float64(rule.Fired))
		}
		fmt.Fprintf(w, "  %-28s %7d %7d %9s\n", rule.ID, rule.Fired, rule.Hits, precision)
	}
}

// isBook says whether the book's results are of the same test.
func (r *Report) isBook() bool {
	return r.result.Book && r.Protocol == Protocol{BookTestStart(), 7} && len(r.Set) == 58_264 && r.Frauds == 385
}

// History says what the scores of the test had been learnt from.
func (r *Report) History() string {
	first := r.result.Rows[0].Time
	models := map[string]bool{}
	end := r.Protocol.TestStart + int64(r.Protocol.Days)*day
	version := ""
	for i, m := range r.result.Models {
		last := end
		if i+1 < len(r.result.Models) {
			last = r.result.Models[i+1].From
		}
		if m.From < end && last > r.Protocol.TestStart {
			models[m.Version] = true
			version = m.Version
		}
	}
	labels := "labels from when they were known on."
	if r.result.Book {
		labels = fmt.Sprintf("labels once their %d days were over. The book's models have seen the week from %s only.",
			delayDays, date(r.Protocol.TestStart-(trainDays+delayDays)*day))
	}
	return fmt.Sprintf(
		"The scores have seen all history from %s on, each transaction what was known at its time: the features of it and of\n"+
			"those before, and %s\n%d models scored in the test (the last is %s); %d came into force in the whole run.",
		date(first), labels, len(models), version, len(r.result.Models))
}

type cardDay struct {
	customer int32
	day      int64
}

// topCards returns the cards that were among the top 100 of a day.
func topCards(rows []Row, set []int) map[cardDay]bool {
	var cards []Card
	for _, i := range set {
		r := &rows[i]
		cards = append(cards, Card{r.Time / day, r.Customer, r.Score, r.Fraud})
	}
	top := map[cardDay]bool{}
	for d, list := range daily(cards, 100) {
		for _, c := range list {
			top[cardDay{c.Customer, d}] = true
		}
	}
	return top
}
