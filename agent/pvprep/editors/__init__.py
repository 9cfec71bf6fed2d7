"""Editors: text in, text out; each changes only its tokens and keeps every other byte."""
