"""The files of a run, whichever family trained it: read whole or refused, compared with what was judged; and what people wrote."""
