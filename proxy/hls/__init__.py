"""HLS playlists: read, rewritten for the relay, and resolved. Pure: no I/O, clock or logging."""
