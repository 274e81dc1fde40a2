"""The gateway's metrics for Prometheus; only this room and `programkit.metrics` use its library."""
