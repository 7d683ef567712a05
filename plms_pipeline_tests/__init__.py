"""The tests. Each worker computes on one thread: three workers with two each fight for two cores, and wait for each other."""

import os

# Read by OpenMP and by BLAS when they are loaded, so before anything imports numpy or scikit-learn.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
