"""`plms serve`: the server and the threads beside it."""
