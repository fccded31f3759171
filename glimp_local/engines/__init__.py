"""Models that write: what a session asks of one (protocol.py), and the implementations."""
