"""Decisions: what a person decided about which bytes, and why. Append-only."""
