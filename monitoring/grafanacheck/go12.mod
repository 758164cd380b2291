module datasurge/monitoring/grafanacheck

go 1.26

require (
	github.com/google/go-cmp v0.7.0
	github.com/grafana/grafana-foundation-sdk/go v0.0.7
	github.com/grafana/grafana/apps/dashboard v0.0.0-20250314125419-399df82f0b25
)
