"""The file systems that a backup reads from and is written to."""
