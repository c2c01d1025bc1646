"""What `tools/benchmark.py` measures, a suite in each file, and how."""

import recognition  # noqa: F401  (makes numpy fit for mxnet in every process of a suite)
