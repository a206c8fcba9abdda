"""Watching machines: this one by psutil, others by what they push; warnings are alerts like any other."""
