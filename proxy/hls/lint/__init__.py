"""Checks playlists against the rules of the specification, for `inspect` and `validate`."""
