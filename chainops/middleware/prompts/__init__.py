"""Versioned prompts: templates that only put text together, from immutable versions, by the label of the run."""
