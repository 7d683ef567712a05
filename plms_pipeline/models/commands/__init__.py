"""`plms retrain`: its options, what it does with them, and what it tells."""
