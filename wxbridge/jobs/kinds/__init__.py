"""The job kinds, a module each."""
