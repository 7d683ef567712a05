"""Statements of the exporter: a few that read sets, never one per project. They only read, on a session that is open."""
