"""Do the books balance? Proven every night, as asset checks and as `plms invariants`."""
