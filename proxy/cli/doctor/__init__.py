"""playgate doctor: find out why a video does not play.

Each module checks one part of the path from settings to player. Each check yields results, with the
next step after a failure.
"""
