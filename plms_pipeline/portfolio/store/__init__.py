"""Statements of the portfolio: slots, rates, switches, queues."""
