"""What do the books hold of models? Rows of candidates, champions, halts and switches; every function takes an open session."""
