"""Intake: importers, quarantine and the book of receipts."""
