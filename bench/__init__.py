"""Benchmarks of the kernels against their peers; `python -m bench` runs them."""
