"""Signed tokens: read one, verify it, mint one, explain one. A token is a JWT (RFC 7519)."""
