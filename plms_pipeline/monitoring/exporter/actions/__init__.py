"""What the exporter reads, and what it makes of it."""
