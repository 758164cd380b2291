package kafkahealth

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// lookAtCluster counts brokers and partitions.
func lookAtCluster(ctx context.Context, l *Loop) ([]prometheus.Metric, error) {
	none := []prometheus.Metric{gauge(descBrokers, 0)}
	if l.config.Brokers > 0 {
		none = append(none, gauge(descWanted, float64(l.config.Brokers)))
	}
	request := kmsg.NewPtrDescribeClusterRequest()
	request.IncludeFencedBrokers = true
	cluster, err := request.RequestWith(ctx, l.client)
	if err == nil {
		err = kerr.ErrorForCode(cluster.ErrorCode)
	}
	if err != nil {
		return none, fmt.Errorf("describe the cluster: %w", err)
	}
	alive, wanted := 0, len(cluster.Brokers)
	for _, b := range cluster.Brokers {
		if !b.IsFenced {
			alive++
		}
	}
	if l.config.Brokers > 0 {
		wanted = l.config.Brokers
	}
	metrics := []prometheus.Metric{gauge(descBrokers, float64(alive)), gauge(descWanted, float64(wanted))}

	topics, err := l.admin.ListTopicsWithInternal(ctx)
	if err != nil {
		return metrics, fmt.Errorf("list topics: %w", err)
	}
	configs, err := l.admin.DescribeTopicConfigs(ctx, topics.Names()...)
	if err != nil {
		return metrics, fmt.Errorf("read the configuration of the topics: %w", err)
	}
	var failed error
	for name, topic := range topics {
		config, err := configs.On(name, nil)
		if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) { // else it has just been deleted
			failed = errors.Join(failed, fmt.Errorf("read the configuration of %s: %w", name, err))
		}
		metrics = append(metrics, partitions(topic, minInSync(config))...)
	}
	return metrics, failed
}

// minInSync returns min.insync.replicas of a topic, 1 when it is not told.
func minInSync(config kadm.ResourceConfig) int {
	for _, c := range config.Configs {
		if n, err := strconv.Atoi(c.MaybeValue()); err == nil && c.Key == "min.insync.replicas" {
			return n
		}
	}
	return 1
}

// partitions counts what is wrong with the partitions of a topic.
func partitions(topic kadm.TopicDetail, minISR int) []prometheus.Metric {
	var offline, under, belowMin float64
	for _, p := range topic.Partitions {
		if p.Leader < 0 {
			offline++
		}
		if len(p.ISR) < len(p.Replicas) {
			under++
		}
		// A topic cannot have more replicas in sync than it has.
		if len(p.ISR) < min(minISR, len(p.Replicas)) {
			belowMin++
		}
	}
	return []prometheus.Metric{
		gauge(descOffline, offline, topic.Topic),
		gauge(descUnder, under, topic.Topic),
		gauge(descMinISR, belowMin, topic.Topic),
	}
}

// lookAtDisks asks every broker for its log directories.
func lookAtDisks(ctx context.Context, l *Loop) ([]prometheus.Metric, error) {
	all, err := l.admin.DescribeAllLogDirs(ctx, nil)
	if err != nil && len(all) == 0 {
		return nil, fmt.Errorf("describe the log directories: %w", err)
	}
	// A broker that does not answer is counted by another check; the others'
	// disks are still of interest.
	var metrics []prometheus.Metric
	sizes := map[string]float64{}
	for broker, dirs := range all {
		for path, dir := range dirs {
			labels := []string{strconv.Itoa(int(broker)), path}
			if dir.Err != nil {
				metrics = append(metrics, gauge(descDirUp, 0, labels...))
				continue
			}
			metrics = append(metrics, gauge(descDirUp, 1, labels...))
			if dir.TotalBytes >= 0 && dir.UsableBytes >= 0 { // -1: the broker is too old to say
				metrics = append(metrics,
					gauge(descDirTotal, float64(dir.TotalBytes), labels...),
					gauge(descDirUsable, float64(dir.UsableBytes), labels...))
			}
			dir.Topics.Each(func(p kadm.DescribedLogDirPartition) { sizes[p.Topic] += float64(p.Size) })
		}
	}
	for topic, size := range sizes {
		metrics = append(metrics, gauge(descTopicBytes, size, topic))
	}
	return metrics, err
}
