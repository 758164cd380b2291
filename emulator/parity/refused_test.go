package parity

import (
	"errors"
	"strings"
	"testing"

	"datasurge/emulator/golden"
	"datasurge/knative"
)

// TestUnsupportedIsRefused: what is not emulated is refused by file, line and
// field, not passed over.
func TestUnsupportedIsRefused(t *testing.T) {
	golden.Row(t, 38, golden.OwnRule)
	const source = `apiVersion: sources.knative.dev/v1
kind: KafkaSource
metadata:
  name: s
  annotations: {A}
spec:
  bootstrapServers: [b]
  topics: [t]
  sink: {uri: "http://sink/" S}
  F
`
	for _, c := range []struct {
		name, old, with string
		line            int
		field           string
	}{
		{"TLS to Kafka", "F", "net: {tls: {enable: true}}", 10, "spec.net"},
		{"SASL to Kafka", "F", "net: {sasl: {enable: true}}", 10, "spec.net"},
		{"TLS to the sink", " S", ", CACerts: c", 9, "spec.sink.CACerts"},
		{"OIDC", " S", ", audience: a", 9, "spec.sink.audience"},
		{"KEDA", "{A}", `{autoscaling.eventing.knative.dev/min-scale: "1"}`, 5, "metadata.annotations"},
		{"an unknown field", "F", "colour: red", 10, "spec.colour"},
		{"an unknown kind", "kind: KafkaSource", "kind: RabbitmqSource", 2, "kind"},
		{"an unknown version", "dev/v1", "dev/v7", 1, "apiVersion"},
		{"a wrong type", "[t]", "7", 8, "spec.topics"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(source, c.old, c.with, 1)
			text = strings.NewReplacer("{A}", "{}", " S}", "}", "  F\n", "").Replace(text)
			_, err := knative.Read("m.yaml", strings.NewReader(text))
			e, ok := errors.AsType[*knative.Error](err)
			if !ok || e.File != "m.yaml" || e.Line != c.line || !strings.HasPrefix(e.Field, c.field) {
				t.Errorf("error %v (%+v), want line %d and field %s, in\n%s", err, e, c.line, c.field, text)
			}
		})
	}
}
