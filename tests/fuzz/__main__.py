"""make fuzz: coverage-guided fuzzing of every parser of untrusted input."""

import argparse
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from fuzz.targets import TARGETS

MAX_SECONDS = 3600  # per target
MAX_INPUT_BYTES = 20_000
FINDING_PREFIXES = ("crash-", "timeout-", "oom-")  # of files; a slow input is not a finding
TIMEOUT_SECONDS = 20  # per input


def fuzz(name: str, seconds: int, seed: int) -> str:
    """Fuzz one target in a process of its own; return its findings or the number of runs."""
    with TemporaryDirectory(prefix="playgate-fuzz-") as temporary:
        folder, artifacts = Path(temporary), Path(temporary, "artifacts")
        artifacts.mkdir()
        corpus = folder / "corpus"
        corpus.mkdir()
        for number, seed_input in enumerate(TARGETS[name][1]):
            (corpus / f"{number}").write_bytes(seed_input)
        command = [
            *(sys.executable, "-m", "fuzz.guided", name, corpus),
            *(f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={MAX_INPUT_BYTES}"),
            *(f"-timeout={TIMEOUT_SECONDS}", f"-artifact_prefix={artifacts}/"),
        ]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            output = f"{run.stdout}{run.stderr}"
            findings = [
                path for path in artifacts.iterdir() if path.name.startswith(FINDING_PREFIXES)
            ]
            if not findings:
                sys.exit(f"{name} could not be fuzzed:\n{output}")
            rows = "\n".join(f"({name!r}, {path.read_bytes()!r})," for path in findings)
            return f"FOUND; add to tests/fuzz/rows.py:\n{rows}\n{output}"
        (runs,) = re.findall(r"^Done (\d+) runs", run.stderr, re.MULTILINE)
        return f"no finding in {runs} runs"


def main() -> None:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=30, help="duration per target")
    parser.add_argument("--seed", type=int, default=0, help="0: a random seed")
    parser.add_argument("--only", choices=TARGETS, help="fuzz only this target")
    options = parser.parse_args()
    if not 0 < options.seconds <= MAX_SECONDS:
        parser.error(
            f"--seconds is {options.seconds}; it must be above 0 and at most {MAX_SECONDS}"
        )
    results: list[str] = []
    for name in [options.only] if options.only else TARGETS:
        results.append(fuzz(name, options.seconds, options.seed))
        sys.stdout.write(f"{name}: {results[-1]}\n")
        sys.stdout.flush()
    sys.exit(any(result.startswith("FOUND") for result in results))


if __name__ == "__main__":
    main()
