package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/emulator/datadir"
	"datasurge/knative"
)

// runReset is the command reset: it makes everything as it was before the first
// run.
func runReset(ctx context.Context, args []string, out *os.File, _ io.Writer) error {
	flags := flag.NewFlagSet("reset", flag.ContinueOnError)
	var c connection
	flags.StringVar(&c.dataDir, "data-dir", ".datasurge", "`directory` of the emulator, which must not run")
	flags.StringVar(&c.brokers, "brokers", "", "`host:port,...` of a Kafka: delete our topics and groups there, and no directory")
	yes := flags.Bool("yes", false, "with --brokers: delete, after having seen what")
	var manifests []string
	flags.Func("f", "`file or directory` with the manifests whose topics and groups are deleted (default: those of knative/, built in)", func(s string) error {
		manifests = append(manifests, s)
		return nil
	})
	rest, err := parseMixed(flags, args, out)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("unexpected argument %q; emulator reset -h lists the arguments", rest[0])
	}
	if c.brokers == "" {
		switch err := datadir.Remove(c.dataDir); {
		case errors.Is(err, fs.ErrNotExist):
			_, err = fmt.Fprintf(out, "There is no %s; nothing is deleted.\n", c.dataDir)
			return err
		case err != nil:
			return fmt.Errorf("%w (--data-dir)", err)
		}
		_, err := fmt.Fprintf(out, "%s is deleted.\n", c.dataDir)
		return err
	}
	set, err := knative.Default()
	if len(manifests) > 0 {
		set, err = knative.ReadPaths(manifests...)
	}
	if err != nil {
		return err
	}
	options, err := c.options(ctx)
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer client.Close()
	return resetKafka(ctx, kadm.NewClient(client), set, *yes, out)
}

// resetKafka deletes the topics and the groups of set, as far as they are there,
// or says what there is.
func resetKafka(ctx context.Context, admin *kadm.Client, set *knative.Set, yes bool, out io.Writer) error {
	topics, err := topicsThere(ctx, admin, set)
	if err != nil {
		return err
	}
	_, groups := namesOf(set)
	described, err := admin.DescribeGroups(ctx, groups...)
	if err != nil {
		return fmt.Errorf("describe the groups: %w", err)
	}
	groups = slices.DeleteFunc(groups, func(name string) bool { g, ok := described[name]; return !ok || g.Err != nil || g.State == "Dead" })
	if len(topics)+len(groups) == 0 {
		_, err := fmt.Fprintln(out, "There are no topics and no groups of ours; nothing is deleted.")
		return err
	}
	if !yes {
		fmt.Fprintf(out, "With --yes these are deleted, with all that is in them:\n  topics: %s\n  groups: %s\n", orNone(topics), orNone(groups))
		return errors.New("nothing is deleted; emulator reset --yes deletes")
	}
	if err := withoutMembers(ctx, admin, groups, out); err != nil {
		return err
	}
	// Positions first: without their topics they mean nothing, but a position
	// without its group's topics would be taken for one in the new topics.
	deletedGroups, err := admin.DeleteGroups(ctx, groups...)
	if err != nil {
		return fmt.Errorf("delete the groups: %w", err)
	}
	for _, g := range deletedGroups.Sorted() {
		if g.Err != nil && !errors.Is(g.Err, kerr.GroupIDNotFound) {
			return fmt.Errorf("delete the group %s: %w", g.Group, g.Err)
		}
	}
	deletedTopics, err := admin.DeleteTopics(ctx, topics...)
	if err != nil {
		return fmt.Errorf("delete the topics: %w", err)
	}
	for _, t := range deletedTopics.Sorted() {
		if t.Err != nil && !errors.Is(t.Err, kerr.UnknownTopicOrPartition) {
			return fmt.Errorf("delete the topic %s: %w", t.Topic, t.Err)
		}
	}
	_, err = fmt.Fprintf(out, "Deleted.\n  topics: %s\n  groups: %s\n", orNone(topics), orNone(groups))
	return err
}

// membersWithin is how long a member that is gone may be in its group: a source
// that is stopped does not leave it, and its session times out after 10 s.
const membersWithin = 15 * time.Second

// withoutMembers waits until no group has members.
func withoutMembers(ctx context.Context, admin *kadm.Client, groups []string, out io.Writer) error {
	timeout := time.After(membersWithin)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for said := false; ; {
		described, err := admin.DescribeGroups(ctx, groups...)
		if err != nil {
			return fmt.Errorf("describe the groups: %w", err)
		}
		i := slices.IndexFunc(groups, func(name string) bool { return len(described[name].Members) > 0 })
		if i < 0 {
			return nil
		}
		name, n := groups[i], len(described[groups[i]].Members)
		if !said {
			said = true
			fmt.Fprintf(out, "The group %s has %d members; they are out of it in 10 s, when they have been stopped.\n", name, n)
		}
		select {
		case <-tick.C:
		case <-timeout:
			return fmt.Errorf("the group %s has %d members: stop the functions first", name, n)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// topicsThere returns those topics of set that exist.
func topicsThere(ctx context.Context, admin *kadm.Client, set *knative.Set) ([]string, error) {
	topics, _ := namesOf(set)
	listed, err := admin.ListTopics(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("list the topics: %w", err)
	}
	return slices.DeleteFunc(topics, func(name string) bool { return listed[name].Err != nil }), nil
}

// namesOf returns the topics that set declares, and the groups of its sources and
// of its functions, which join one for ownership.
func namesOf(set *knative.Set) (topics, groups []string) {
	for _, t := range set.Topics {
		topics = append(topics, t.Topic)
	}
	for _, s := range set.Sources {
		if s.ConsumerGroup != "" {
			groups = append(groups, s.ConsumerGroup)
		}
	}
	for _, s := range set.Services {
		if f := s.Getenv("FUNCTION"); f != "" {
			groups = append(groups, f)
		}
	}
	slices.Sort(topics)
	slices.Sort(groups)
	return slices.Compact(topics), slices.Compact(groups)
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
