"""Runs the night in this process, with what happens told as it happens."""
