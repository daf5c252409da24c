"""make soak: an edge under load while everything around it breaks, one after the other."""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from faults.plot import plot
from faults.soak import Soak, soak
from faults.stage import staged, what_is_missing

LONGEST = 24 * 60  # minutes


async def run(minutes: float, seed: int) -> Soak:
    with TemporaryDirectory(prefix="playgate-soak-") as folder:
        async with staged(Path(folder)) as stage:
            return await soak(stage, minutes * 60, seed)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long, a day at most")
    parser.add_argument("--seed", type=int, default=1, help="decides the order of the faults")
    parser.add_argument("--png", type=Path, default=Path("soak.png"), help="where the picture goes")
    options = parser.parse_args()
    if not 0 < options.minutes <= LONGEST:
        parser.error(f"--minutes must be above 0, and {LONGEST} at most")
    if missing := what_is_missing():
        sys.exit(missing)
    result = asyncio.run(run(options.minutes, options.seed))
    title = f"{options.minutes:g} minutes, {len(result.windows)} faults, seed {options.seed}"
    plot(result, options.png, title)
    findings = result.findings()
    first, last = result.samples[0].held, result.samples[-1].held
    summary = {
        "answers": len(result.seen),
        "faults": len(result.windows),
        "outcomes": result.outcomes(),
        "resident": [first.resident, last.resident],
        "growth": result.growth(),  # null: too short to tell
        "picture": str(options.png),
        "findings": findings,
    }
    sys.stdout.write(json.dumps(summary, indent=1) + "\n")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
