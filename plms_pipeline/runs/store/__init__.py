"""Statements about projects, runs, tasks and what surrounds them."""
