"""The reference executor: honest when it may be, and by switch as unreliable as the world."""
