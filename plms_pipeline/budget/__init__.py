"""The purse: what was reserved, what it took, and what is left."""
