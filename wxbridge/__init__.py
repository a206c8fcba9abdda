"""wxbridge carries what a team's monitoring sees into WeChat, and answers there."""

__version__ = "0.1.0"
