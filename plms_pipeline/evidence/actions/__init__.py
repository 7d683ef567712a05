"""Use cases of late evidence: owe it, observe it, tell of it, prove that the books of it are right."""
