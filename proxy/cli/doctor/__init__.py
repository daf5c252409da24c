"""playgate doctor: why does it not play?

Each file looks at one part of the way; each check yields what it found, and the next step.
"""
