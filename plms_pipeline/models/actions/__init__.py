"""What is done with models: the use cases that command, job and HTTP call."""
