"""The guides' own examples as scripts: ten test vectors and three demos, against a live server."""
