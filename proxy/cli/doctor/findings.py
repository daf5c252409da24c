"""What a check finds, and what every check works with."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path

from proxy.cli.options import Finding
from proxy.domain.client_ip import Address
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.video import VideoId
from proxy.edge.delivery import Delivery
from proxy.settings import Settings
from proxy.wiring import Process

PATIENCE = 10.0  # seconds for one question


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What is looked at, and the tools."""

    settings: Settings
    file: Path | None  # which they were read from
    process: Process
    delivery: Delivery
    video: VideoId | None
    viewer: Address | None

    @property
    def deadline(self) -> float:
        """When a question that is asked now must be answered."""
        return self.process.telemetry.clock.monotonic() + PATIENCE


Check = Callable[[Visit], AsyncGenerator[Finding, None]]

# What to do about a refusal of Dailymotion's or its CDN's.
NEXT_STEPS: dict[Reason, str] = {
    Reason.PLATFORM_CREDENTIALS: "Compare platform.api_key and api_secret with Dailymotion Studio, "
    "and platform.grant with the kind of key (docs/accounts.md).",
    Reason.PLATFORM_PERMISSION: "Give the API key the permission Generate stream URLs in "
    "Dailymotion Studio; some accounts need platform.scope = manage_videos.",
    Reason.PLATFORM_THROTTLED: "Wait a while; ask Dailymotion about the account's limits.",
    Reason.PLATFORM_UNREACHABLE: "Look at this machine's way out: firewall, DNS, "
    "platform.address_family.",
    Reason.PLATFORM_TIMEOUT: "Look at this machine's way out; then at platform.play_timeout.",
    Reason.PLATFORM_BAD_ANSWER: "Look at platform.api, token_url and rest_url: is this really "
    "Dailymotion's API?",
    Reason.STREAM_HOST_NOT_ALLOWED: "If the host is Dailymotion's, add it to "
    "platform.allowed_hosts.",
    Reason.ACCOUNT_UNAVAILABLE: "Look at the disk, and at platform.login_file and its folder.",
    Reason.STATE_UNAVAILABLE: "Look at Redis itself, at the network to it, and at state.url.",
    Reason.VIEWER_PRIVATE: "No stream can be locked to this address: name the viewer's public one, "
    "or see viewer.private.",
    Reason.PLAYLIST_INVALID: "playgate inspect with the video's id says what is wrong with it.",
    Reason.VIDEO_NOT_FOUND: "Check the id in Dailymotion Studio.",
    Reason.STREAM_UNAVAILABLE: "Does the video belong to the API key's organization, and is it "
    "published and encoded? Look at it in Dailymotion Studio.",
    Reason.LIVE_OFF_AIR: "Start the live stream.",
    Reason.VIDEO_PRIVATE: "Make the video public, or use its private id.",
    Reason.VIDEO_PASSWORD: "Take the password off the video in Dailymotion Studio.",
    Reason.VIDEO_GEOBLOCKED: "Look at the video's geoblocking, and at the country of the address.",
}

# … where its detail tells more than its reason.
TOLD_STEPS = {
    "run playgate login": "Run playgate login, as the user that the edge runs as.",
    "see username and password": "Compare platform.username and platform.password with the "
    "channel's own.",
    "CDN: what came is no playlist": "Try playgate inspect with the video's id: a bot challenge "
    "may look like that.",
    "CDN: HTTP 403": "The line cdn says what that may be.",
    "CDN: HTTP 404": "The CDN does not have the stream: look at the video's encoding in "
    "Dailymotion Studio.",
    "HTTP 5": "Dailymotion itself is in trouble; wait, and ask them if it lasts.",
}


def ok(check: str, text: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(check=check, status="ok", text=text)


def warn(check: str, text: str, next_step: str) -> Finding:
    """Return that something may be meant so, or could not be looked at."""
    return Finding(check=check, status="warn", text=text, next_step=next_step)


def broken(check: str, text: str, next_step: str) -> Finding:
    """Return that something keeps videos from playing."""
    return Finding(check=check, status="fail", text=text, next_step=next_step)


def refused(check: str, refusal: Refusal) -> Finding:
    """Return a refusal as a failure, with what to do about it."""
    detail = f" ({refusal.detail})" if refusal.detail else ""
    return broken(check, f"{refusal.reason}{detail}", next_step_of(refusal.reason, refusal.detail))


def next_step_of(reason: Reason, detail: str) -> str:
    """Return what an operator does about a refusal."""
    for words, step in TOLD_STEPS.items():
        if words in detail:
            return step
    return NEXT_STEPS.get(reason, reason.message)
