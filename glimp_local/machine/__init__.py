"""This machine: its memory and devices, and what fits on it."""
