"""Measurements, each a command: `python -m benchmarks`, `python -m benchmarks.chat`, `python -m benchmarks.picture`."""
