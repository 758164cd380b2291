package stream

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Ownership decides which partitions a process works on. It is a matter of
// efficiency only: were two processes to work on one partition, the transactional
// id would fence all but the last.
//
// Implementations: Static, Assigned, Group.
type Ownership interface {
	// run tells e what it owns until ctx ends.
	run(ctx context.Context, e *Engine) error
}

// Static owns the same partitions for ever; empty means all.
type Static []int

func (s Static) run(ctx context.Context, e *Engine) error {
	if len(s) == 0 {
		for n := range e.Tasks() {
			s = append(s, n)
		}
	}
	e.assign(s)
	<-ctx.Done()
	return nil
}

// Group owns what a consumer group gives this process. The group is named after
// the function and joined for ownership alone: its members share out the
// changelog's partitions, and nothing is fetched through it.
type Group struct {
	// InstanceID makes the process a static member, which is given the same
	// partitions when it comes back within the session timeout. Default is a
	// dynamic member.
	InstanceID string
	// SessionTimeout is how long a dead process keeps its partitions. Default is
	// 6 s, the least that brokers allow by default.
	SessionTimeout time.Duration
}

// rebalanceWithin is how long a rebalance waits for its members. One that dies
// in the middle of it holds the others up for so long.
const rebalanceWithin = revokeWithin + 3*time.Second

// publishEvery is how often positions are committed to the group, for tools that
// show lag. They are never read back.
const publishEvery = 5 * time.Second

func (g Group) run(ctx context.Context, e *Engine) error {
	setDefault(&g.SessionTimeout, 6*time.Second)
	name := e.options.Definition.Name
	topic := ChangelogTopic(name)
	numbers := func(m map[string][]int32) (list []int) {
		for _, p := range m[topic] {
			list = append(list, int(p))
		}
		return list
	}
	options := append(e.options.clientOptions("group"),
		kgo.ConsumerGroup(name),
		kgo.ConsumeTopics(topic),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(g.SessionTimeout),
		kgo.HeartbeatInterval(g.SessionTimeout/4),
		kgo.RebalanceTimeout(rebalanceWithin),
		kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { e.grant(numbers(m)) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { e.revoke(numbers(m), false) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { e.revoke(numbers(m), true) }),
		kgo.DisableClientMetrics(),
	)
	if g.InstanceID != "" {
		options = append(options, kgo.InstanceID(g.InstanceID))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	client.PauseFetchTopics(topic)
	defer client.Close()
	if g.InstanceID != "" {
		// A static member stays in the group when its client closes, so that a
		// restart is cheap; one that stops for good says so.
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			leave := kadm.LeaveGroup(name).Reason("stopped").InstanceIDs(g.InstanceID)
			if _, err := kadm.NewClient(client).LeaveGroup(ctx, leave); err != nil {
				e.options.Logger.Warn("leave the group", slog.Any("error", err))
			}
		}()
	}
	tick := time.NewTicker(publishEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if e.options.Consume {
				client.CommitOffsetsSync(ctx, e.groupOffsets(), nil)
			}
		}
	}
}

func (e *Engine) groupOffsets() map[string]map[int32]kgo.EpochOffset {
	offsets := map[string]map[int32]kgo.EpochOffset{}
	for n, byTopic := range e.Positions() {
		for topic, offset := range byTopic {
			if offsets[topic] == nil {
				offsets[topic] = map[int32]kgo.EpochOffset{}
			}
			offsets[topic][int32(n)] = kgo.EpochOffset{Epoch: -1, Offset: offset}
		}
	}
	return offsets
}

// Assigned owns what an HTTP endpoint says, asked again and again with the
// generation of the last answer: GET URL?generation=N answers when it has another
// one, or after half a minute. The emulator assigns partitions in this way,
// because a member that is killed can stay in a group of its embedded broker.
type Assigned struct {
	URL    string
	Client *http.Client // nil: a client of its own
}

type assignment struct {
	Generation int   `json:"generation"`
	Partitions []int `json:"partitions"`
}

func (a Assigned) run(ctx context.Context, e *Engine) error {
	if _, err := url.Parse(a.URL); err != nil {
		return fmt.Errorf("address of the assignment: %w", err)
	}
	client := a.Client
	if client == nil {
		client = &http.Client{}
		defer client.CloseIdleConnections()
	}
	generation := -1
	for ctx.Err() == nil {
		next, err := a.ask(ctx, client, generation)
		if err != nil {
			// Whoever assigns may be restarting; what is owned stays owned.
			if ctx.Err() == nil {
				e.options.Logger.Debug("ask for the assignment", slog.Any("error", err))
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			continue
		}
		if next.Generation != generation {
			generation = next.Generation
			e.assign(next.Partitions)
		}
	}
	return nil
}

func (a Assigned) ask(ctx context.Context, client *http.Client, generation int) (next assignment, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL+"?generation="+strconv.Itoa(generation), nil)
	if err != nil {
		return next, err
	}
	response, err := client.Do(request)
	if err != nil {
		return next, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return next, fmt.Errorf("GET %s answered %s", a.URL, response.Status)
	}
	return next, json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&next)
}
