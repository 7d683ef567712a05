"""Where do readings come from? A small function per kind of fact."""
