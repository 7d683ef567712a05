"""The files of a run, read whole or refused and compared with what was judged; and documents that people wrote."""
