"""Clients of the monitoring systems: Grafana, Prometheus, Alertmanager."""
