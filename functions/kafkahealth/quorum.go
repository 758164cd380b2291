package kafkahealth

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// metadataTopic is the name of the controllers' log in requests.
const metadataTopic = "__cluster_metadata"

// lookAtQuorum asks for the state of the controllers. Any broker passes the
// question on to their leader.
func lookAtQuorum(ctx context.Context, l *Loop) ([]prometheus.Metric, error) {
	if l.quorum == nil {
		known, err := l.knowsQuorum(ctx)
		if err != nil {
			return nil, fmt.Errorf("ask what the brokers support: %w", err)
		}
		l.quorum = &known
	}
	if !*l.quorum {
		return nil, fmt.Errorf("the quorum of controllers: %w", errUnsupported)
	}
	request := kmsg.NewPtrDescribeQuorumRequest()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic = metadataTopic
	topic.Partitions = append(topic.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	request.Topics = append(request.Topics, topic)
	response, err := request.RequestWith(ctx, l.client)
	if err != nil {
		return nil, fmt.Errorf("describe the quorum: %w", err)
	}
	return quorum(response)
}

// knowsQuorum reports whether the cluster has a quorum to ask for.
func (l *Loop) knowsQuorum(ctx context.Context) (bool, error) {
	response, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, l.client)
	if err == nil {
		err = kerr.ErrorForCode(response.ErrorCode)
	}
	if err != nil {
		return false, err
	}
	key := new(kmsg.DescribeQuorumRequest).Key()
	return slices.ContainsFunc(response.ApiKeys, func(k kmsg.ApiVersionsResponseApiKey) bool { return k.ApiKey == key }), nil
}

// quorum turns the answer to DescribeQuorum into metrics.
func quorum(response *kmsg.DescribeQuorumResponse) ([]prometheus.Metric, error) {
	if err := kerr.ErrorForCode(response.ErrorCode); err != nil {
		return nil, fmt.Errorf("describe the quorum: %w", err)
	}
	if len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1 {
		return nil, fmt.Errorf("describe the quorum: the answer is not about the one partition of %s", metadataTopic)
	}
	p := &response.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
		return nil, fmt.Errorf("describe the quorum: %w", err)
	}
	metrics := []prometheus.Metric{
		gauge(descLeader, float64(p.LeaderID)),
		gauge(descEpoch, float64(p.LeaderEpoch)),
		gauge(descVoters, float64(len(p.CurrentVoters))),
	}
	leader := slices.IndexFunc(p.CurrentVoters, func(v kmsg.DescribeQuorumResponseTopicPartitionReplicaState) bool { return v.ReplicaID == p.LeaderID })
	if leader < 0 {
		return metrics, nil // nobody to be behind of
	}
	end, now := p.CurrentVoters[leader].LogEndOffset, p.CurrentVoters[leader].LastCaughtUpTimestamp
	for _, v := range p.CurrentVoters {
		voter := strconv.Itoa(int(v.ReplicaID))
		// -1 is the end of a voter that has not fetched from this leader yet.
		metrics = append(metrics, gauge(descVoterLag, float64(max(0, end-max(0, v.LogEndOffset))), voter))
		if now >= 0 && v.LastCaughtUpTimestamp >= 0 {
			metrics = append(metrics, gauge(descVoterAge, float64(max(0, now-v.LastCaughtUpTimestamp))/1000, voter))
		}
	}
	return metrics, nil
}
