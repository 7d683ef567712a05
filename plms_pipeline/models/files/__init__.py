"""The files of a run, whichever family trained it: read whole or refused, and compared with what was judged."""
