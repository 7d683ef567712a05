"""The outside: job cards to the executor, its answers, and a reference executor to try them on."""
