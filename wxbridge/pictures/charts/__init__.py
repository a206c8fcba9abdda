"""Charts of our own."""
