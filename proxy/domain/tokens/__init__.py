"""Parse, verify and sign tokens. A token is a JWT (RFC 7519)."""
