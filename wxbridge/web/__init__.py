"""The HTTP server: hooks, the push API, health, metrics, the login page."""
