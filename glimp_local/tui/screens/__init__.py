"""Screens that lie over the chat, one a module."""
