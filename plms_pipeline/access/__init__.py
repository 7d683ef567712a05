"""Who did what: actors and the audit log."""
