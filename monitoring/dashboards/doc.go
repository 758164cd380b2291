// Package dashboards makes the Grafana dashboards of DataSurge. They are code, so
// that what they have in common is said once and the tests can go through every
// query; what is loaded is the JSON in ../grafana/dashboards, which
//
//	go generate ./monitoring/...
//
// writes. It is the plain dashboard model (schemaVersion 41), which Grafana 12
// and 13 load from files.
package dashboards

//go:generate go run ./generate ../grafana/dashboards

// All returns the dashboards, in the order in which they are linked.
func All() []Dashboard {
	return []Dashboard{business(), pipeline(), kafka(), system(), slo()}
}
