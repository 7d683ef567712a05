"""Use cases of the portfolio: what commands, jobs and services call."""
