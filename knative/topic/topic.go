// Package topic does what Strimzi's topic operator does for KafkaTopic: it makes
// the topics that are declared.
//
// Emulated: topicName, partitions, replicas and config of topics that are not
// there yet. As many replicas are made as there are brokers, at most those
// declared, and min.insync.replicas is lowered likewise.
//
// Ignored: changes of the configuration of a topic that is there.
//
// Refused: a topic that is there with another number of partitions. State is
// kept by partition, so more of them are no small change.
package topic

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"datasurge/knative"
)

// defaultReplicas is the number of replicas of a topic that declares none.
const defaultReplicas = 3

// Create makes the topics that are not there and waits until all have leaders.
// config, when not nil, gives the configuration that a topic is made with from
// the one that is declared.
func Create(ctx context.Context, admin *kadm.Client, topics []*knative.KafkaTopic, config func(map[string]string) map[string]string) error {
	brokers, err := admin.ListBrokers(ctx)
	if err != nil {
		return fmt.Errorf("list brokers: %w", err)
	}
	existing, err := admin.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	for _, t := range topics {
		if d, ok := existing[t.Topic]; ok && d.Err == nil {
			if n := len(d.Partitions); t.Partitions > 0 && n != t.Partitions {
				return t.Errorf("spec.partitions", "topic %s is there with %d partitions, not %d; state is kept by partition, so delete the topics or declare %d",
					t.Topic, n, t.Partitions, n)
			}
			continue
		}
		if err := create(ctx, admin, t, len(brokers), config); err != nil {
			return err
		}
	}
	return await(ctx, admin, topics)
}

func create(ctx context.Context, admin *kadm.Client, t *knative.KafkaTopic, brokers int, config func(map[string]string) map[string]string) error {
	partitions, replicas := int32(-1), defaultReplicas
	if t.Partitions > 0 {
		partitions = int32(t.Partitions)
	}
	if t.Replicas > 0 {
		replicas = t.Replicas
	}
	replicas = min(replicas, brokers)
	declared := t.Config
	if n, err := strconv.Atoi(declared["min.insync.replicas"]); err == nil && n > replicas {
		declared = maps.Clone(declared)
		declared["min.insync.replicas"] = strconv.Itoa(replicas)
	}
	if config != nil {
		declared = config(declared)
	}
	settings := make(map[string]*string, len(declared))
	for k, v := range declared {
		settings[k] = &v
	}
	resp, err := admin.CreateTopic(ctx, partitions, int16(replicas), settings, t.Topic)
	if errors.Is(err, kerr.TopicAlreadyExists) {
		return nil // somebody was faster
	}
	if err != nil {
		if resp.ErrMessage != "" {
			err = fmt.Errorf("%w: %s", err, resp.ErrMessage)
		}
		return fmt.Errorf("%s:%d: make topic %s: %w", t.File, t.Line, t.Topic, err)
	}
	return nil
}

// await returns when every topic is known with a leader for each partition: a
// broker answers the request to make a topic before that.
func await(ctx context.Context, admin *kadm.Client, topics []*knative.KafkaTopic) error {
	names := make([]string, len(topics))
	for i, t := range topics {
		names[i] = t.Topic
	}
	if len(names) == 0 {
		return nil
	}
	for {
		listed, err := admin.ListTopics(ctx, names...)
		if err != nil {
			return fmt.Errorf("list topics: %w", err)
		}
		missing := ""
		for _, name := range names {
			if !ready(listed[name]) {
				missing = name
			}
		}
		if missing == "" {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("topic %s has no leader: %w", missing, context.Cause(ctx))
		}
	}
}

func ready(d kadm.TopicDetail) bool {
	for _, p := range d.Partitions {
		if p.Err != nil || p.Leader < 0 {
			return false
		}
	}
	return d.Err == nil && len(d.Partitions) > 0
}
