"""make fuzz: bytes that coverage chooses, for each reader of what others wrote."""

import argparse
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from fuzz.targets import TARGETS

LONGEST = 3600  # seconds of each target
MOST = 20_000  # bytes
FINDINGS = ("crash-", "timeout-", "oom-")  # files; one that is slow is none
PATIENCE = 20  # seconds with the same bytes


def fuzz(name: str, seconds: int, seed: int) -> str:
    """Fuzz one target, in a process of its own; return what came of it."""
    with TemporaryDirectory(prefix="playgate-fuzz-") as temporary:
        folder, found = Path(temporary), Path(temporary, "found")
        found.mkdir()
        corpus = folder / "corpus"
        corpus.mkdir()
        for number, one in enumerate(TARGETS[name][1]):
            (corpus / f"{number}").write_bytes(one)
        command = [
            *(sys.executable, "-m", "fuzz.guided", name, corpus),
            *(f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={MOST}"),
            *(f"-timeout={PATIENCE}", f"-artifact_prefix={found}/"),
        ]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            said = f"{run.stdout}{run.stderr}"
            kept = [it for it in found.iterdir() if it.name.startswith(FINDINGS)]
            if not kept:
                sys.exit(f"{name} could not be fuzzed:\n{said}")
            rows = "\n".join(f"({name!r}, {it.read_bytes()!r})," for it in kept)
            return f"FOUND, to be kept in tests/fuzz/rows.py:\n{rows}\n{said}"
        (runs,) = re.findall(r"^Done (\d+) runs", run.stderr, re.MULTILINE)
        return f"nothing in {runs} runs"


def main() -> None:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=30, help="of each target")
    parser.add_argument("--seed", type=int, default=0, help="0: another each time")
    parser.add_argument("--only", choices=TARGETS, help="one target")
    options = parser.parse_args()
    if not 0 < options.seconds <= LONGEST:
        parser.error(f"--seconds must be above 0, and {LONGEST} at most")
    results: list[str] = []
    for name in [options.only] if options.only else TARGETS:
        results.append(fuzz(name, options.seconds, options.seed))
        sys.stdout.write(f"{name}: {results[-1]}\n")
        sys.stdout.flush()
    sys.exit(any(it.startswith("FOUND") for it in results))


if __name__ == "__main__":
    main()
