"""Runs and conversations on the disk: written as they happen, read back whatever became of them."""
