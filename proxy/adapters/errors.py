"""Failures of what lies outside this process, before it is known what they mean for a play."""

from __future__ import annotations

from typing import Literal

Problem = Literal[
    "unreachable", "timeout", "throttled", "bad-answer", "private-address", "no-descriptors"
]


class UpstreamError(Exception):
    """A request to another server failed.

    Attributes:
        problem: how.
        detail: for the log.
        is_transient: whether another attempt may succeed.
        retry_after: after how many seconds, if the server said so.
    """

    def __init__(
        self,
        problem: Problem,
        detail: str,
        *,
        is_transient: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{problem}: {detail}")
        self.problem = problem
        self.detail = detail
        self.is_transient = is_transient
        self.retry_after = retry_after


class StateError(Exception):
    """What this service keeps outside its memory cannot be read or written; `detail` says why."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail
