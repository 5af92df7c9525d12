"""Streams of what is in a world and how it changes."""
