"""Playgate: a stable, signed `src` URL in front of Dailymotion's per-viewer stream URLs."""

__version__ = "0.1.0"
