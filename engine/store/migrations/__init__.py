"""The steps from one version of the schema to the next; a revision's name is its version."""
