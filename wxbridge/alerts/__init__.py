"""Alerts: parsed from what monitors post, routed, muted, rendered, remembered."""
