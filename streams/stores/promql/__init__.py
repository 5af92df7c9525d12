"""What VictoriaMetrics and Prometheus share: names, the HTTP API, and reading by PromQL."""
