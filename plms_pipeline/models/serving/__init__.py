"""The champion at work: its answers, its guardrails, and what is measured of both."""
