"""Artifacts as files: snapshots, inputs, the inbox, and what an evaluation writes."""
