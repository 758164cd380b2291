package broker

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// maxPartition bounds a partition that is deleted from, in bytes: what a cluster
// keeps for days would fill a laptop's disk. At 1,000 transactions/s it is half an
// hour of the largest topic.
const maxPartition = 512 << 20

// TopicConfig returns the configuration that a topic with config is made with on
// this broker. A topic that is only compacted is never deleted from by time or
// size, which Kafka knows and kfake does not; any other has a bound on its size.
func TopicConfig(config map[string]string) map[string]string {
	c := maps.Clone(config)
	if c == nil {
		c = make(map[string]string)
	}
	policies := strings.Split(c["cleanup.policy"], ",")
	if slices.Contains(policies, "compact") && !slices.Contains(policies, "delete") {
		c["retention.ms"], c["retention.bytes"] = "-1", "-1"
		return c
	}
	if n, err := strconv.ParseInt(c["retention.bytes"], 10, 64); err != nil || n < 0 || n > maxPartition {
		c["retention.bytes"] = strconv.Itoa(maxPartition)
	}
	return c
}
