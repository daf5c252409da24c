"""A soak as a picture: what players saw, and what the edge held, over time."""

from collections import Counter
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")

from matplotlib import pyplot as plt

from faults.broken_exchanges import OK
from faults.soak import Soak


def plot(soak: Soak, path: Path, title: str) -> None:
    figure, (answers, memory, descriptors, tasks) = plt.subplots(
        4, figsize=(12, 9), sharex=True, layout="constrained"
    )
    figure.suptitle(title)
    draw_answers(soak, answers)
    times = [sample.at for sample in soak.samples]
    memory.plot(times, [sample.held.resident / 1e6 for sample in soak.samples])
    memory.set(ylabel="resident, MB", ylim=(0, None))
    descriptors.plot(times, [sample.held.descriptors for sample in soak.samples])
    descriptors.set(ylabel="descriptors", ylim=(0, None))
    tasks.plot(times, [len(sample.held.tasks) for sample in soak.samples])
    tasks.set(ylabel="tasks", ylim=(0, None), xlabel="seconds")
    for axes in (answers, memory, descriptors, tasks):
        for window in soak.windows:
            axes.axvspan(window.begun - soak.began_at, window.ended - soak.began_at, color="0.9")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def draw_answers(soak: Soak, axes) -> None:
    ends = [(int(it.began_at + it.seconds - soak.began_at), it.outcome == OK) for it in soak.seen]
    counts = Counter(ends)
    seconds = range(max(second for second, _ in ends) + 1)
    axes.plot(seconds, [counts[second, True] for second in seconds], label="plays")
    axes.plot(seconds, [counts[second, False] for second in seconds], label="refusals")
    axes.set(ylabel="answers a second", ylim=(0, None))
    axes.legend(loc="upper right")
