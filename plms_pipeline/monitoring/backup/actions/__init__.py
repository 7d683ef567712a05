"""The three things that are done with a backup."""
