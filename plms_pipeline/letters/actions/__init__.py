"""What is done with dead letters."""
