package kafkahealth

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func voter(id int32, end, caughtUp int64) kmsg.DescribeQuorumResponseTopicPartitionReplicaState {
	v := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
	v.ReplicaID, v.LogEndOffset, v.LastCaughtUpTimestamp = id, end, caughtUp
	return v
}

func answer(leader int32, voters ...kmsg.DescribeQuorumResponseTopicPartitionReplicaState) *kmsg.DescribeQuorumResponse {
	p := kmsg.NewDescribeQuorumResponseTopicPartition()
	p.LeaderID, p.LeaderEpoch, p.CurrentVoters = leader, 7, voters
	return &kmsg.DescribeQuorumResponse{Topics: []kmsg.DescribeQuorumResponseTopic{{Topic: metadataTopic, Partitions: []kmsg.DescribeQuorumResponseTopicPartition{p}}}}
}

// exported collects fixed metrics.
type exported []prometheus.Metric

func (exported) Describe(chan<- *prometheus.Desc) {}
func (e exported) Collect(to chan<- prometheus.Metric) {
	for _, m := range e {
		to <- m
	}
}

func TestQuorum(t *testing.T) {
	const now = 1_700_000_000_000
	for _, test := range []struct {
		name     string
		response *kmsg.DescribeQuorumResponse
		want     string
	}{
		{"one is behind, one has never fetched", answer(102, voter(101, 90, now-2500), voter(102, 100, now), voter(103, -1, -1)), `
			datasurge_kafka_quorum_leader_epoch 7
			datasurge_kafka_quorum_leader_id 102
			datasurge_kafka_quorum_voter_lag_records{voter="101"} 10
			datasurge_kafka_quorum_voter_lag_records{voter="102"} 0
			datasurge_kafka_quorum_voter_lag_records{voter="103"} 100
			datasurge_kafka_quorum_voter_lag_seconds{voter="101"} 2.5
			datasurge_kafka_quorum_voter_lag_seconds{voter="102"} 0
			datasurge_kafka_quorum_voters 3
		`},
		{"no leader", answer(-1, voter(101, 90, -1), voter(102, 100, -1)), `
			datasurge_kafka_quorum_leader_epoch 7
			datasurge_kafka_quorum_leader_id -1
			datasurge_kafka_quorum_voters 2
		`},
	} {
		t.Run(test.name, func(t *testing.T) {
			metrics, err := quorum(test.response)
			if err != nil {
				t.Fatal(err)
			}
			registry := prometheus.NewRegistry()
			registry.MustRegister(exported(metrics))
			families, err := registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			var got, want []string
			for _, family := range families {
				for _, m := range family.Metric {
					var name strings.Builder
					name.WriteString(family.GetName())
					for _, l := range m.Label {
						fmt.Fprintf(&name, "{%s=%q}", l.GetName(), l.GetValue())
					}
					got = append(got, fmt.Sprint(name.String(), " ", m.GetGauge().GetValue()))
				}
			}
			for line := range strings.Lines(strings.TrimSpace(test.want)) {
				want = append(want, strings.TrimSpace(line))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestQuorumRefusesOtherAnswers(t *testing.T) {
	failed := answer(1)
	failed.Topics[0].Partitions[0].ErrorCode = kerr.ClusterAuthorizationFailed.Code
	for name, response := range map[string]*kmsg.DescribeQuorumResponse{
		"an error":              {ErrorCode: kerr.ClusterAuthorizationFailed.Code},
		"an error of the topic": failed,
		"nothing":               {},
	} {
		if metrics, err := quorum(response); err == nil || len(metrics) > 0 {
			t.Errorf("%s: %d metrics (%v)", name, len(metrics), err)
		}
	}
}
