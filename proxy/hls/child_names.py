"""Names of children in relay URLs: which of them may be visible, and which share a proof.

Each visible name needs a proof that a relayed playlist contained it. Random text does not compress,
so one proof covers many names: a *sequence* (exactly the names that count from a first to a last),
or a *block* (all names that differ only in the last digits of their numbers).
"""

import re
from collections.abc import Iterator, Sequence
from itertools import chain, takewhile, zip_longest
from typing import NamedTuple

# Signatures are in queries and in long parts of paths, such as Dailymotion's sec2(…). Both are
# hidden, and so is every unusual character.
CHARACTER = r"A-Za-z0-9()=,~+:@!_-"
FOLDER = rf"(?!\.{{1,2}}/)[.{CHARACTER}]{{1,20}}/"
FILE = rf"(?!\.{{1,2}}\Z)[.{CHARACTER}]{{1,64}}"
NAME = re.compile(rf"(?:{FOLDER}){{0,8}}{FILE}", re.ASCII)
FILE_NAME = re.compile(FILE, re.ASCII)

NUMBERS = re.compile(r"([0-9]{1,18})", re.ASCII)
DIVIDED_NUMBER = re.compile(r"[0-9]{19}", re.ASCII)  # of which NUMBERS makes two
LAST_TWO_DIGITS = re.compile(r"[0-9]{1,2}(?![0-9])", re.ASCII)
NUMBER = re.compile(r"[0-9]+", re.ASCII)
LONG_NUMBER = re.compile(r"[0-9]{6}", re.ASCII)
LONG = 6  # digits
HUNDRED = 100
MAX_NAMES_WITHOUT_SEQUENCES = 30
HIDDEN = "*"  # no character of a name

MIN_SEQUENCE_LENGTH = 4
MAX_SEQUENCE_LENGTH = 5000
FIRST_STEP, MAX_STEP = 16, 1000  # names that are compared at once
SEQUENCE = re.compile(
    r"(?P<length>[0-9]{1,6})(?P<counters>(?:\.[0-9]{1,3}-[0-9]{1,18}-[0-9]{1,18}-[0-9]{1,2})+)",
    re.ASCII,
)


def is_visible(name: str) -> bool:
    """Return whether a relative path may be visible in a relay URL."""
    return NAME.fullmatch(name) is not None


def find_blocks(names: Sequence[str]) -> list[str]:
    """Return the block of each name: the name with the last digits of each number hidden.

    Hides two digits of a short number and half of a long one, such as a time in milliseconds.
    """
    text = "\n".join(names)
    if LONG_NUMBER.search(text) is None:
        return LAST_TWO_DIGITS.sub(2 * HIDDEN, text).split("\n")
    return NUMBER.sub(_hide_digits, text).split("\n")


def divide_into_blocks(names: Sequence[str]) -> Iterator[tuple[Sequence[str], str]]:
    """Divide distinct names into runs with the same block; yield each run with its block."""
    if len(names) <= MAX_NAMES_WITHOUT_SEQUENCES:  # finding sequences would take longer
        yield from _group_by_block(names)
        return
    for run, sequence in find_sequences(names):
        if len(sequence.counters) != 1 or DIVIDED_NUMBER.search(run[0]) is not None:
            yield from _group_by_block(run)
            continue
        # Every block hides at least two digits, so names with the same hundreds share a block.
        ((_, start, step, _),) = sequence.counters
        at = 0
        while at < len(run):
            count = -(((start + at * step) % HUNDRED - HUNDRED) // step)
            yield run[at : at + count], find_blocks([run[at]])[0]
            at += count


def _group_by_block(names: Sequence[str]) -> Iterator[tuple[Sequence[str], str]]:
    blocks = find_blocks(names)
    at = 0
    for end, block in enumerate(blocks):
        if block != blocks[at]:
            yield names[at:end], blocks[at]
            at = end
    if names:
        yield names[at:], blocks[at]


def _hide_digits(number: re.Match[str]) -> str:
    digits = number[0]
    count = len(digits) // 2 if len(digits) >= LONG else 2
    return digits[:-count] + HIDDEN * count


class Counter(NamedTuple):
    """A number that counts in a sequence of names.

    Attributes:
        place: its index among the texts and numbers of a name.
        start: its value in the first name.
        step: the difference between two names.
        width: the number of digits if it has leading zeros, else 0.
    """

    place: int
    start: int
    step: int
    width: int


class NameSequence(NamedTuple):
    """A sequence of names.

    Attributes:
        pattern: the name with its counters hidden.
        counters: the numbers that count.
        length: the number of names.
    """

    pattern: str
    counters: list[Counter]
    length: int

    @property
    def parameters(self) -> str:
        """The text that describes the sequence in a relay URL."""
        counters = (".{}-{}-{}-{}".format(*counter) for counter in self.counters)
        return f"{self.length}{''.join(counters)}"


def find_sequences(names: Sequence[str]) -> Iterator[tuple[Sequence[str], NameSequence]]:
    """Divide distinct names into sequences, each as long as possible."""
    at = 0
    while at < len(names):
        parts = NUMBERS.split(names[at])
        following = NUMBERS.split(names[at + 1]) if at + 1 < len(names) else parts
        counters = _find_counters(parts, following)
        pattern = _hide_counters(parts, counters)
        length = _measure(pattern, counters, names, at) if counters else 1
        yield names[at : at + length], NameSequence(pattern, counters, length)
        at += length


def _measure(pattern: str, counters: list[Counter], names: Sequence[str], at: int) -> int:
    """Return how many names from an index on belong to a sequence."""
    length, step = 1, FIRST_STEP
    # In growing steps, so that a short sequence costs little.
    while at + length < len(names) and length < MAX_SEQUENCE_LENGTH:
        found = names[at + length : at + length + step]
        expected = _list_names(pattern, counters, length, length + len(found))
        if "\n".join(found) != expected:
            same = (one == other for one, other in zip(found, expected.split("\n"), strict=True))
            return length + sum(takewhile(bool, same))
        length, step = length + len(found), min(2 * step, MAX_STEP)
    return length


def _list_names(pattern: str, counters: list[Counter], start: int, stop: int) -> str:
    """Return the names of a sequence from one index to another, one per line."""
    numbers: list[Iterator[str]] = []
    for _, first, step, width in counters:
        values = range(first + start * step, first + stop * step, step)
        numbers.append(map(f"{{:0{width}d}}".format if width else str, values))
    texts = pattern.split(HIDDEN)
    if len(numbers) == 1:
        before, after = texts
        return before + f"{after}\n{before}".join(numbers[0]) + after
    return "\n".join(
        "".join(chain.from_iterable(zip_longest(texts, values, fillvalue="")))
        for values in zip(*numbers, strict=True)
    )


def find_pattern(name: str, parameters: str) -> str | None:
    """Return the pattern of the described sequence if it contains a name, else None."""
    if (described := SEQUENCE.fullmatch(parameters)) is None:
        return None
    counters = [
        Counter(*map(int, counter.split("-"))) for counter in described["counters"].split(".")[1:]
    ]
    parts = NUMBERS.split(name)
    place, start, step, _ = counters[0]
    if step == 0 or any(counter.place >= len(parts) for counter in counters):
        return None
    number = parts[place]
    index = (int(number) - start) // step if number.isdecimal() else -1
    pattern = _hide_counters(parts, counters)
    is_in_sequence = 0 <= index < int(described["length"])
    if not is_in_sequence or _list_names(pattern, counters, index, index + 1) != name:
        return None
    return pattern


def _find_counters(first: list[str], second: list[str]) -> list[Counter]:
    if len(first) != len(second):
        return []
    counters: list[Counter] = []
    for place in range(1, len(first), 2):
        one, two = first[place], second[place]
        if one != two:
            start, step = int(one), int(two) - int(one)
            if step <= 0:
                return []
            has_zeros = "0" in (one[0], two[0])
            counters.append(Counter(place, start, step, len(one) if has_zeros else 0))
    return counters


def _hide_counters(parts: list[str], counters: list[Counter]) -> str:
    parts = list(parts)
    for counter in counters:
        parts[counter.place] = HIDDEN
    return "".join(parts)
