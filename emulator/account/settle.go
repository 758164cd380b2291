package account

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/emulator/offsets"
	"datasurge/events"
)

// MaxTransactions is how many transactions are compared in one reading of the
// topics, in about 120 MB.
const MaxTransactions = 2_000_000

// Begin are the offsets from which topics are read.
type Begin struct {
	Offsets map[string]map[int32]int64
	Whole   bool // they are the first of every topic, and nothing was deleted
}

// Mark returns where an account begins that is to cover what is in the topics
// and what will come: at the beginning when retention has deleted nothing of any
// topic, else at the present ends.
func Mark(ctx context.Context, admin *kadm.Client) (Begin, error) {
	begins, err := offsets.Begins(ctx, admin, Topics()...)
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return Begin{}, fmt.Errorf("account: it is of the topics %s, which have to be there: %w", strings.Join(Topics(), ", "), err)
	}
	if err != nil {
		return Begin{}, fmt.Errorf("account: %w", err)
	}
	begin := Begin{Offsets: begins, Whole: true}
	for _, partitions := range begins {
		for _, offset := range partitions {
			begin.Whole = begin.Whole && offset == 0
		}
	}
	if begin.Whole {
		return begin, nil
	}
	begin.Offsets, err = stableEnds(ctx, admin)
	return begin, err
}

func stableEnds(ctx context.Context, admin *kadm.Client) (offsets.Offsets, error) {
	ends, err := offsets.Ends(ctx, admin, Topics()...)
	if err != nil {
		return nil, fmt.Errorf("account: %w", err)
	}
	return ends, nil
}

// Config is what [Settle] needs.
type Config struct {
	Kafka   []kgo.Opt // connects to the brokers
	Begin   Begin
	Options Options // but Whole and Until, which Settle sets
	// Busy says what is still under way besides what the topics tell; "" when
	// nothing is.
	Busy func() string
	// Patience is how long nothing may come when nothing is under way, before what
	// is missing is taken for lost. Default is 20 s and twice the pause between two
	// results of the largest window, a 60th of its size.
	Patience time.Duration
	// Stalled is how long nothing may come although something is under way. Default
	// is 10 minutes, twice the longest pause between two attempts of our sources.
	Stalled time.Duration
	// Progress is told how things are, about every 5 seconds.
	Progress func(string)
}

// progressEvery and lookEvery are the pauses between two words of progress, and
// between two comparisons.
const (
	progressEvery = 5 * time.Second
	lookEvery     = 500 * time.Millisecond
)

// Settle waits until everything that has been sent by now is through, and returns
// the account. The producers have to be stopped; of others what they send from
// now on is left out. The error says why the topics could not be read; an account
// that does not balance is none.
func Settle(ctx context.Context, c Config) (Account, error) {
	start := time.Now()
	if c.Stalled == 0 {
		c.Stalled = 10 * time.Minute
	}
	if c.Patience == 0 {
		c.Patience = 20 * time.Second
		for _, spec := range c.Options.Windows {
			c.Patience = max(c.Patience, 20*time.Second+2*time.Duration(spec.Size/60)*time.Millisecond)
		}
	}
	client, err := kgo.NewClient(c.Kafka...)
	if err != nil {
		return Account{}, err
	}
	defer client.Close()
	s := settling{Config: c, admin: kadm.NewClient(client)}
	ends, err := stableEnds(ctx, s.admin)
	if err != nil {
		return Account{}, err
	}
	s.Options.Whole = c.Begin.Whole
	s.Options.Until = map[string]map[int32]int64{events.TopicTransactions: ends[events.TopicTransactions], events.TopicLabels: ends[events.TopicLabels]}
	var records int64
	for p, end := range ends[events.TopicTransactions] {
		records += end - c.Begin.Offsets[events.TopicTransactions][p]
	}
	s.Options.shards = uint64(records/MaxTransactions) + 1
	var total Account
	for s.Options.shard = range s.Options.shards {
		a, err := s.settle(ctx)
		if err != nil {
			return total, err
		}
		if s.Options.shard == 0 {
			total = a
		} else {
			total.add(a)
			total.Named = append(total.Named, a.Named...)
			total.Unfinished = cmp.Or(total.Unfinished, a.Unfinished)
		}
	}
	total.Took = time.Since(start)
	return total, nil
}

// settling is one Settle.
type settling struct {
	Config
	admin *kadm.Client
}

// settle makes the account of one share of the hashes.
func (s *settling) settle(ctx context.Context) (Account, error) {
	r, err := s.open()
	if err != nil {
		return Account{}, err
	}
	defer r.client.Close()
	book := newLedger(s.Options)
	said, moved, before, idle := time.Now(), time.Now(), int64(-1), false
	for {
		// What is under way is asked first: its results stand before the ends.
		busy := s.Busy()
		if err := r.readToEnd(ctx, s.admin, book.Add); err != nil {
			return Account{}, err
		}
		a := book.Account()
		missing := a.Missing()
		if missing == 0 && busy == "" {
			return s.named(ctx, book, a)
		}
		now := time.Now()
		if book.events != before {
			moved, before, idle = now, book.events, false
		}
		idle = idle || busy == ""
		if still := now.Sub(moved); idle && still > s.Patience || still > s.Stalled {
			if !idle {
				a.Unfinished = busy
			}
			return s.named(ctx, book, a)
		}
		if s.Progress != nil && now.Sub(said) >= progressEvery {
			said = now
			s.Progress(cmp.Or(busy, s.pending(&a)))
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return Account{}, ctx.Err()
		}
	}
}

// pending says what is waited for when nothing is on its way.
func (s *settling) pending(a *Account) string {
	missing := a.Missing()
	if w := a.Windows; w == nil || w.Missing < missing {
		return fmt.Sprintf("%s results are not there yet", thousands(missing))
	}
	var longest int64
	for _, spec := range s.Options.Windows {
		longest = max(longest, spec.Size)
	}
	return fmt.Sprintf("all transactions are through; the windows are behind by %s, and the largest publish every %v",
		thousands(missing), max(time.Second, time.Duration(longest/60)*time.Millisecond))
}

// namedTransactions is how many transactions are named.
const namedTransactions = 10

// named reads the topics once more for the ids of what is wrong, of which only
// hashes are known.
func (s *settling) named(ctx context.Context, l *ledger, a Account) (Account, error) {
	l.names = l.wrong(namedTransactions)
	if len(l.names) == 0 {
		return a, nil
	}
	r, err := s.open()
	if err != nil {
		return a, err
	}
	defer r.client.Close()
	again := newLedger(s.Options)
	again.names = l.names
	if err := r.readToEnd(ctx, s.admin, again.Add); err != nil {
		return a, err
	}
	a.Named = slices.Sorted(maps.Values(again.names))
	return a, nil
}

// reader reads the topics from their begin on.
type reader struct {
	client   *kgo.Client
	position map[string]map[int32]int64
}

func (s *settling) open() (*reader, error) {
	r := &reader{position: make(map[string]map[int32]int64)}
	from := make(map[string]map[int32]kgo.Offset)
	for topic, partitions := range s.Begin.Offsets {
		from[topic], r.position[topic] = make(map[int32]kgo.Offset), make(map[int32]int64)
		for p, offset := range partitions {
			from[topic][p], r.position[topic][p] = kgo.NewOffset().At(offset), offset
		}
	}
	var err error
	r.client, err = kgo.NewClient(append([]kgo.Opt{
		kgo.ConsumePartitions(from),
		// What retention deletes meanwhile cannot be compared: better to say so.
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // so that the position reaches the end
		kgo.FetchMaxWait(lookEvery),
	}, s.Kafka...)...)
	return r, err
}

// readToEnd reads everything that is committed now.
func (r *reader) readToEnd(ctx context.Context, admin *kadm.Client, take func(*kgo.Record)) error {
	ends, err := stableEnds(ctx, admin)
	if err != nil {
		return err
	}
	for r.behind(ends) {
		fetches := r.client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return err
		}
		var failed []error
		fetches.EachError(func(topic string, p int32, err error) {
			failed = append(failed, fmt.Errorf("account: read partition %d of %s: %w", p, topic, err))
		})
		if err := errors.Join(failed...); err != nil {
			return err
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			r.position[rec.Topic][rec.Partition] = rec.Offset + 1
			take(rec)
		})
	}
	return nil
}

// behind reports whether something before the ends has not been read.
func (r *reader) behind(ends map[string]map[int32]int64) bool {
	for topic, partitions := range ends {
		for p, end := range partitions {
			if end > r.position[topic][p] {
				return true
			}
		}
	}
	return false
}
