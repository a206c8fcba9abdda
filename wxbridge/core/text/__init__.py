"""Words and numbers for people: the translation catalogue, units, splitting to a limit."""
