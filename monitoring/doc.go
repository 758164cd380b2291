// Package monitoring holds what watches DataSurge: Prometheus' configuration,
// recording and alert rules with their tests, Alertmanager's routes, runbooks and
// Grafana's dashboards; and the tests that tie all of it to the metrics that the
// functions really export. README.md is for operators.
package monitoring

import "embed"

//go:generate go run ./kubernetes ../knative/monitoring

// Rules are the recording and alert rules, rules/*.yml.
//
//go:embed rules
var Rules embed.FS
