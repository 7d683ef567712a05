"""The observer as it runs: one loop, a few threads, bounded places."""
