"""The HTTP API: `plms serve`."""
