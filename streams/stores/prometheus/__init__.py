"""History in Prometheus."""

from streams.stores.prometheus.store import PrometheusStore, from_settings

__all__ = ["PrometheusStore", "from_settings"]
