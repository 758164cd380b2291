package rulebook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"datasurge/events"
	"datasurge/functions/detect/rules"
)

// Lists is what stands in the table of lists.
type Lists struct {
	Entries      []events.ListEntry
	Suppressions []events.Suppression
	Refused      []error // records that are neither
}

// Lists reads the table of lists.
func (b *Book) Lists(ctx context.Context) (*Lists, error) {
	list, err := b.table(ctx, events.TopicLists)
	if err != nil {
		return nil, err
	}
	all := &Lists{}
	for _, rec := range list {
		// What detect refuses is not shown as if it counted.
		if _, refused := new(rules.Lists).With([]rules.Change{{ID: rec.key, Document: rec.value}}); len(refused) > 0 {
			all.Refused = append(all.Refused, refused...)
			continue
		}
		if events.IsSuppressionKey(rec.key) {
			var s events.Suppression
			err = events.ParseSuppression(rec.value, &s)
			all.Suppressions = append(all.Suppressions, s)
		} else {
			var e events.ListEntry
			err = events.ParseListEntry(rec.value, &e)
			all.Entries = append(all.Entries, e)
		}
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all.Entries, func(a, b events.ListEntry) int { return strings.Compare(a.Key(), b.Key()) })
	slices.SortFunc(all.Suppressions, func(a, b events.Suppression) int { return strings.Compare(a.Key(), b.Key()) })
	return all, nil
}

// Print writes the entries of one list, of all when name is "", and the
// suppressions with them.
func (l *Lists) Print(w io.Writer, name string, now time.Time) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "LIST\tVALUE\tUNTIL\tNOTE")
	for _, e := range l.Entries {
		if name == "" || name == e.List {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", e.List, e.Value, until(e.Until, now), e.Note)
		}
	}
	if name == "" {
		for _, s := range l.Suppressions {
			fmt.Fprintf(t, "suppress %s\t%s\t%s\t%s\n", s.Rule, s.Value, until(s.Until, now), s.Note)
		}
	}
	t.Flush()
	for _, err := range l.Refused {
		fmt.Fprintf(w, "refused: %v\n", err)
	}
}

func until(ms int64, now time.Time) string {
	if ms == 0 {
		return "for good"
	}
	at := time.UnixMilli(ms).UTC()
	if !at.After(now) {
		return at.Format(time.RFC3339) + " (over)"
	}
	return at.Format(time.RFC3339)
}

// checkList refuses what is no list.
func checkList(name string) error {
	switch name {
	case events.ListAllow, events.ListDeny, events.ListWatch:
		return nil
	}
	return fmt.Errorf("there is no list %q: want allow, deny or watch", name)
}

// AddToList puts values on a list. when is "", a time or a duration from now.
func (b *Book) AddToList(ctx context.Context, list string, values []string, when, note string) error {
	if err := checkList(list); err != nil {
		return err
	}
	ms := int64(0)
	if when != "" {
		at, err := b.parseUntil(when)
		if err != nil {
			return err
		}
		ms = at.UnixMilli()
	}
	return b.update(ctx, func(t *tables) error {
		for _, value := range values {
			e := events.ListEntry{List: list, Value: value, Until: ms, Note: note}
			if err := t.putChecked(e.Key(), events.TypeList, value, events.AppendListEntry(nil, &e)); err != nil {
				return err
			}
		}
		return nil
	})
}

// RemoveFromList takes values off a list. It is an error when one is not on it.
func (b *Book) RemoveFromList(ctx context.Context, list string, values []string) error {
	if err := checkList(list); err != nil {
		return err
	}
	return b.update(ctx, func(t *tables) error {
		have, err := b.Lists(ctx)
		if err != nil {
			return err
		}
		for _, value := range values {
			if !slices.ContainsFunc(have.Entries, func(e events.ListEntry) bool { return e.List == list && e.Value == value }) {
				return fmt.Errorf("%q is not on the list %s, and nothing was removed", value, list)
			}
			e := events.ListEntry{List: list, Value: value}
			t.put(events.TopicLists, e.Key(), &events.Event{ID: e.Key(), Type: events.TypeList, Subject: value})
		}
		return nil
	})
}

// Suppress keeps a rule from flagging the transactions of one customer or
// merchant until a time, which it returns.
func (b *Book) Suppress(ctx context.Context, rule, value, when, note string) (time.Time, error) {
	if value == "" || when == "" {
		return time.Time{}, errors.New("for whom, and until when? --key ID --until TIME")
	}
	at, err := b.parseUntil(when)
	if err != nil {
		return at, err
	}
	return at, b.update(ctx, func(t *tables) error {
		have, err := b.Rules(ctx)
		if err != nil {
			return err
		}
		if have.inForce(rule) == nil {
			return fmt.Errorf("there is no rule %q; emulator rules list shows those that there are", rule)
		}
		s := events.Suppression{Rule: rule, Value: value, Until: at.UnixMilli(), Note: note}
		return t.putChecked(s.Key(), events.TypeSuppression, value, events.AppendSuppression(nil, &s))
	})
}

// Unsuppress ends a suppression.
func (b *Book) Unsuppress(ctx context.Context, rule, value string) error {
	if value == "" {
		return errors.New("for whom? --key ID")
	}
	return b.update(ctx, func(t *tables) error {
		have, err := b.Lists(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(have.Suppressions, func(s events.Suppression) bool { return s.Rule == rule && s.Value == value }) {
			return fmt.Errorf("the rule %q is not suppressed for %q; emulator lists show tells for whom which rule is", rule, value)
		}
		s := events.Suppression{Rule: rule, Value: value}
		t.put(events.TopicLists, s.Key(), &events.Event{ID: s.Key(), Type: events.TypeSuppression, Subject: value})
		return nil
	})
}

// putChecked writes a record of the lists unless detect would refuse it.
func (t *tables) putChecked(key, eventType, subject string, data []byte) error {
	if _, refused := new(rules.Lists).With([]rules.Change{{ID: key, Document: data}}); len(refused) > 0 {
		return refused[0]
	}
	t.put(events.TopicLists, key, &events.Event{
		ID: key, Type: eventType, Subject: subject, DataContentType: "application/json", Data: data,
	})
	return nil
}

// parseUntil reads a time to come: RFC 3339, or a duration from now with s, m, h
// or d.
func (b *Book) parseUntil(s string) (time.Time, error) {
	now := b.now()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		d, notDuration := rules.ParseDuration(s)
		if notDuration != nil {
			return at, fmt.Errorf("--until %q: want a time as 2026-12-24T18:00:00Z, or a duration from now as 2h or 30d", s)
		}
		at = now.Add(d)
	}
	if !at.After(now) {
		return at, fmt.Errorf("--until %s is not in the future", at.Format(time.RFC3339))
	}
	return at.UTC(), nil
}
