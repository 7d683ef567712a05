"""The use cases of a run, each called alike by job, command line and HTTP."""
