"""A bound on a whole request, where the HTTP client knows only one on each read."""
