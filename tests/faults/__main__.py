"""make soak: run an edge under load while its dependencies fail one after the other."""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from faults.plot import plot_soak
from faults.soak import Soak, run_soak
from faults.stage import find_missing_requirement, run_stage

MAX_MINUTES = 24 * 60  # minutes


async def run(minutes: float, seed: int) -> Soak:
    with TemporaryDirectory(prefix="playgate-soak-") as folder:
        async with run_stage(Path(folder)) as stage:
            return await run_soak(stage, minutes * 60, seed)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="duration, at most a day")
    parser.add_argument("--seed", type=int, default=1, help="decides the order of the faults")
    parser.add_argument(
        "--png", type=Path, default=Path("soak.png"), help="the file to write the picture to"
    )
    options = parser.parse_args()
    if not 0 < options.minutes <= MAX_MINUTES:
        parser.error(
            f"--minutes is {options.minutes:g}; it must be above 0 and at most {MAX_MINUTES}"
        )
    if missing := find_missing_requirement():
        sys.exit(missing)
    result = asyncio.run(run(options.minutes, options.seed))
    title = f"{options.minutes:g} minutes, {len(result.windows)} faults, seed {options.seed}"
    plot_soak(result, options.png, title)
    findings = result.list_findings()
    first, last = result.samples[0].resources, result.samples[-1].resources
    summary = {
        "plays": len(result.results),
        "faults": len(result.windows),
        "outcomes": result.count_outcomes(),
        "resident": [first.resident, last.resident],
        "growth": result.compute_growth_bytes(),  # null if the soak was too short
        "picture": str(options.png),
        "findings": findings,
    }
    sys.stdout.write(json.dumps(summary, indent=1) + "\n")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
