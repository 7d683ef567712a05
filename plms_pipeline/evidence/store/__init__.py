"""Obligations, observations, and where evidence lies in the registry."""
