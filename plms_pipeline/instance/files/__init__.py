"""What lies on this machine's disk: Dagster's home, locks, and files that are whole or not there."""
