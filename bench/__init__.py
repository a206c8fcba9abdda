"""How fast and how large wxbridge is, measured on real processes and sockets: `python -m bench [NAME…]`."""
