"""The statements of the proof, on a session that an action opened; nothing here commits."""
