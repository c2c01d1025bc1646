"""What `tools/benchmark.py` measures, a suite in each file, and how."""
