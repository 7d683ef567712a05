"""What the reference executor does: runs, cards, work, and what it tells."""
