"""Guests of old releases, as trees: files in their real formats, images made in the real form."""
