"""Bytes that a fuzzer found something with, by target; each stays mended."""

ROWS: list[tuple[str, bytes]] = []
