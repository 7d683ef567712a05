"""What people open in a browser: the guarded Dagster UI."""
