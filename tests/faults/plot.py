"""Plot a soak: plays, refusals and the edge's resources over time."""

from collections import Counter
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")

from matplotlib import pyplot as plt

from faults.broken_exchanges import OK
from faults.soak import Soak


def plot_soak(soak: Soak, path: Path, title: str) -> None:
    """Write the picture of a soak as PNG; faults are grey."""
    figure, (responses, memory, descriptors, tasks) = plt.subplots(
        4, figsize=(12, 9), sharex=True, layout="constrained"
    )
    figure.suptitle(title)
    draw_responses(soak, responses)
    times = [sample.at for sample in soak.samples]
    memory.plot(times, [sample.resources.resident / 1e6 for sample in soak.samples])
    memory.set(ylabel="resident, MB", ylim=(0, None))
    descriptors.plot(times, [sample.resources.descriptors for sample in soak.samples])
    descriptors.set(ylabel="descriptors", ylim=(0, None))
    tasks.plot(times, [len(sample.resources.tasks) for sample in soak.samples])
    tasks.set(ylabel="tasks", ylim=(0, None), xlabel="seconds")
    for axes in (responses, memory, descriptors, tasks):
        for window in soak.windows:
            axes.axvspan(
                window.started_at - soak.started_at, window.ended_at - soak.started_at, color="0.9"
            )
    figure.savefig(path, dpi=100)
    plt.close(figure)


def draw_responses(soak: Soak, axes) -> None:
    ends = [
        (int(result.started_at + result.seconds - soak.started_at), result.outcome == OK)
        for result in soak.results
    ]
    counts = Counter(ends)
    seconds = range(max(second for second, _ in ends) + 1)
    axes.plot(seconds, [counts[second, True] for second in seconds], label="plays")
    axes.plot(seconds, [counts[second, False] for second in seconds], label="refusals")
    axes.set(ylabel="responses per second", ylim=(0, None))
    axes.legend(loc="upper right")
