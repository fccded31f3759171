"""Screens over the chat, one in each file."""
