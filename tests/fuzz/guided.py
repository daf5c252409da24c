"""Fuzz one target with atheris: `python -m fuzz.guided TARGET CORPUS [libFuzzer's options]`."""

import sys

import atheris

with atheris.instrument_imports(include=["proxy"]):
    from fuzz.targets import TARGETS

if __name__ == "__main__":
    name = sys.argv.pop(1)
    target, _ = TARGETS[name]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
