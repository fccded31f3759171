"""Measurements, each a command: `python -m benchmarks.overhead`, `python -m benchmarks.policies`."""
