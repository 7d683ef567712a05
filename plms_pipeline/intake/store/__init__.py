"""Which statements does intake run? On sessions that an action opened, never committing."""
