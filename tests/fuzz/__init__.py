"""Fuzz every parser of untrusted input."""
