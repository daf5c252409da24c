"""What both ports take and answer, for programs to read: OpenAPI."""
