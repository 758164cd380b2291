// Package grafanacheck loads the dashboards as Grafana's own code does: it decodes
// them strictly by Grafana's schemas, those of panels and queries included, and
// has Grafana's migration of old dashboards look at them.
//
// It is a module of its own, because those schemas are large and only this test
// needs them. go.mod has the schemas of Grafana 13, go12.mod those of 12:
//
//	go test .
//	go test -modfile=go12.mod .
package grafanacheck
