package broker

import (
	"maps"
	"slices"
	"strings"
)

// TopicConfig returns the configuration that a topic with config is made with on
// this broker. A topic that is only compacted is never deleted from by time,
// which Kafka knows and kfake does not.
func TopicConfig(config map[string]string) map[string]string {
	policies := strings.Split(config["cleanup.policy"], ",")
	if !slices.Contains(policies, "compact") || slices.Contains(policies, "delete") {
		return config
	}
	c := maps.Clone(config)
	c["retention.ms"], c["retention.bytes"] = "-1", "-1"
	return c
}
