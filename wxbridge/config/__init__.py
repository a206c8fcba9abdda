"""jobs.yaml: its schema, how it is read with the line of every error, and how a change is noticed."""
