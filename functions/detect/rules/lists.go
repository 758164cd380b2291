package rules

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"datasurge/events"
)

// The lists, in the order of listNames.
const (
	allowList = iota
	denyList
	watchList
	listCount
)

//nolint:gochecknoglobals // constant tables
var (
	listNames = [listCount]string{allowList: events.ListAllow, denyList: events.ListDeny, watchList: events.ListWatch}
	// listType is the CEL type of lists.watch: all that one can do is to ask
	// whether a text is in it, whatever its size.
	listType = types.NewObjectType("datasurge.List", traits.ContainerType)
)

// Lists is an immutable view of the table of lists and suppressions. The zero
// Lists is empty. It may be used by several goroutines.
type Lists struct {
	entries    [listCount]map[string]listEntry
	suppressed map[suppressionKey]listEntry
	digest     uint64 // sum of the entries' digests
}

type listEntry struct {
	until  int64 // ms since the epoch, 0: for good
	digest uint64
}

// holds reports whether the entry counts at now, ms since the epoch.
func (e listEntry) holds(now int64) bool { return e.until == 0 || now < e.until }

type suppressionKey struct{ rule, value string }

// ListError says why a record of the table of lists was refused.
type ListError struct {
	Key string // of the record
	Err error
}

func (e *ListError) Error() string {
	return fmt.Sprintf("record %q of the lists: %v", clip(e.Key), e.Err)
}

func (e *ListError) Unwrap() error { return e.Err }

// With returns the lists after changes, and a [*ListError] for each change that
// was refused; the entry of that key stays as it was.
func (l *Lists) With(changes []Change) (*Lists, []error) {
	next := &Lists{suppressed: maps.Clone(l.suppressed), digest: l.digest}
	for i := range l.entries {
		next.entries[i] = maps.Clone(l.entries[i])
	}
	var refused []error
	for _, change := range changes {
		if err := next.take(change); err != nil {
			refused = append(refused, &ListError{change.ID, err})
		}
	}
	return next, refused
}

func (l *Lists) take(change Change) error {
	if events.IsSuppressionKey(change.ID) {
		return l.takeSuppression(change)
	}
	name, value, _ := strings.Cut(change.ID, "/")
	i := slices.Index(listNames[:], name)
	if i < 0 || value == "" {
		return fmt.Errorf("want a key of the form allow/VALUE, deny/VALUE, watch/VALUE or suppress/RULE/VALUE")
	}
	if change.Document == nil {
		l.digest -= l.entries[i][value].digest
		delete(l.entries[i], value)
		return nil
	}
	var entry events.ListEntry
	if err := events.ParseListEntry(change.Document, &entry); err != nil {
		return err
	}
	if entry.Key() != change.ID {
		return fmt.Errorf("its key does not fit: that of what it says is %q", clip(entry.Key()))
	}
	put(&l.entries[i], value, l.entry(l.entries[i][value], entry.Until, change))
	return nil
}

func (l *Lists) takeSuppression(change Change) error {
	_, rest, _ := strings.Cut(change.ID, "/")
	rule, value, ok := strings.Cut(rest, "/")
	if !ok || value == "" {
		return fmt.Errorf("want a key of the form suppress/RULE/VALUE")
	}
	key := suppressionKey{rule, value}
	if change.Document == nil {
		l.digest -= l.suppressed[key].digest
		delete(l.suppressed, key)
		return nil
	}
	var s events.Suppression
	if err := events.ParseSuppression(change.Document, &s); err != nil {
		return err
	}
	if s.Key() != change.ID {
		return fmt.Errorf("its key does not fit: that of what it says is %q", clip(s.Key()))
	}
	put(&l.suppressed, key, l.entry(l.suppressed[key], s.Until, change))
	return nil
}

// entry is that of change, in place of old in the digest.
func (l *Lists) entry(old listEntry, until int64, change Change) listEntry {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", change.ID, until))
	e := listEntry{until, binary.BigEndian.Uint64(sum[:])}
	l.digest += e.digest - old.digest
	return e
}

func put[K comparable, V any](m *map[K]V, key K, value V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[key] = value
}

// Version is a hash of all entries: equal lists have equal versions. It is ""
// for empty lists.
func (l *Lists) Version() string {
	if l.digest == 0 {
		return ""
	}
	var sum [8]byte
	binary.BigEndian.PutUint64(sum[:], l.digest)
	return hex.EncodeToString(sum[:6])
}

// Allowed reports whether value is in the list allow at now, ms since the epoch.
func (l *Lists) Allowed(value string, now int64) bool { return l.has(allowList, value, now) }

// Denied reports whether value is in the list deny at now, ms since the epoch.
func (l *Lists) Denied(value string, now int64) bool { return l.has(denyList, value, now) }

func (l *Lists) has(list int, value string, now int64) bool {
	e, ok := l.entries[list][value]
	return ok && e.holds(now)
}

// Suppressed reports whether a rule is suppressed for one of the values at now,
// ms since the epoch.
func (l *Lists) Suppressed(rule string, now int64, values ...string) bool {
	if len(l.suppressed) == 0 {
		return false
	}
	for _, value := range values {
		if e, ok := l.suppressed[suppressionKey{rule, value}]; ok && e.holds(now) {
			return true
		}
	}
	return false
}

// listValue is a list as CEL sees it.
type listValue struct {
	entries map[string]listEntry
	now     int64
}

var (
	_ ref.Val          = (*listValue)(nil)
	_ traits.Container = (*listValue)(nil)
)

// Contains implements traits.Container.
func (v *listValue) Contains(value ref.Val) ref.Val {
	text, ok := value.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(value)
	}
	e, ok := v.entries[string(text)]
	return types.Bool(ok && e.holds(v.now))
}

// Equal implements ref.Val: lists are not compared.
func (v *listValue) Equal(other ref.Val) ref.Val { return types.Bool(ref.Val(v) == other) }

// Type implements ref.Val.
func (v *listValue) Type() ref.Type { return listType }

// Value implements ref.Val.
func (v *listValue) Value() any { return v }

// ConvertToNative implements ref.Val.
func (v *listValue) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("a list cannot become a %s", t)
}

// ConvertToType implements ref.Val.
func (v *listValue) ConvertToType(t ref.Type) ref.Val {
	return types.NewErr("a list cannot become a %s", t.TypeName())
}
