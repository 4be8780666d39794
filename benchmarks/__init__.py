"""Measures the goals of the performance page: `python -m benchmarks.run --help`."""
