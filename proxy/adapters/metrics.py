"""Every metric, its labels and its buckets. Names are interface: a test lists them.

Labels come from closed sets, never from an id, an address, a token or a raw path.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from math import nan

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

import proxy
from proxy.adapters.series import Counter, Histogram
from proxy.domain.playlist.rules import RULES
from proxy.domain.reasons import Reason

# A local decision takes 50 µs to 10 ms, a request with an upstream call 50 ms to 10 s.
REQUEST_BUCKETS = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
CHECK_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
STATE_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2)
UPSTREAM_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 3, 4, 5, 10)

# What became of a play, and of a call to Dailymotion.
OUTCOMES = ("redirected", "relayed", "listed", "denied", "failed", "abandoned")
ANSWERS = ("ok", "refused", "throttled", "error", "timeout", "unreachable")


class Metrics:
    """The metrics of one edge, in a registry of their own."""

    def __init__(self) -> None:
        # A second series for each counter, and nobody reads it.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # theirs has no annotations
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        Gauge(
            "playgate_build_info", "Always 1; the version is the label.", ["version"],
            registry=registry,
        ).labels(version=proxy.__version__).set(1)  # fmt: skip
        self.requests = Counter(
            "playgate_http_requests_total", "Requests answered, on both ports.",
            ["route", "method", "code"], registry=registry,
        )  # fmt: skip
        self.request_duration = Histogram(
            "playgate_http_request_duration_seconds", "From the head read to the answer given.",
            ["route"], registry=registry, buckets=REQUEST_BUCKETS,
        )  # fmt: skip
        self.play_duration = Histogram(
            "playgate_play_duration_seconds",
            "Plays that were answered with what they asked for, from the head read to the answer.",
            registry=registry, buckets=REQUEST_BUCKETS,
        )  # fmt: skip
        self.play_part_duration = Histogram(
            "playgate_play_part_duration_seconds",
            "The same plays: what Dailymotion and its CDN took of it, and what the edge itself.",
            ["part"], registry=registry, buckets=REQUEST_BUCKETS,
        )  # fmt: skip
        self.requests_in_flight = 0
        Gauge(
            "playgate_http_requests_in_flight", "Requests being answered now.", registry=registry
        ).set_function(lambda: self.requests_in_flight)
        self.plays = Counter(
            "playgate_plays_total",
            "Plays asked for: redirected, relayed, listed (/stream-urls), denied (4xx), "
            "failed (5xx), or abandoned.",
            ["outcome"], registry=registry,
        )  # fmt: skip
        self.denials = Counter(
            "playgate_denials_total", "Requests refused, by reason.", ["reason"], registry=registry
        )
        self.viewers = Counter(
            "playgate_viewers_total", "Plays asked for, by the viewer's address family.",
            ["family"], registry=registry,
        )  # fmt: skip
        self.upstream_duration = Histogram(
            "playgate_upstream_request_duration_seconds",
            "Calls to Dailymotion and its CDN, each attempt on its own.",
            ["operation", "outcome"], registry=registry, buckets=UPSTREAM_BUCKETS,
        )  # fmt: skip
        self.upstream_retries = Counter(
            "playgate_upstream_retries_total", "Attempts after the first.",
            ["operation"], registry=registry,
        )  # fmt: skip
        self.stream_lookups = Counter(
            "playgate_stream_lookups_total",
            "Stream URLs needed: with a call of their own to Dailymotion, or sharing one.",
            ["call"], registry=registry,
        )  # fmt: skip
        self.upstream_calls = Gauge(
            "playgate_upstream_calls",
            "Calls to Dailymotion and fetches of relayed playlists that are under way, or wait.",
            ["operation", "state"], registry=registry,
        )  # fmt: skip
        self.access_token_expiry = Gauge(
            "playgate_access_token_expiry_timestamp_seconds",
            "When the account's access token lapses, in seconds since 1970; 0 before the first.",
            registry=registry,
        )  # fmt: skip
        self.access_token_renewal = Gauge(
            "playgate_access_token_renewal_timestamp_seconds",
            "When the next access token is fetched, in seconds since 1970; 0 before the first.",
            registry=registry,
        )  # fmt: skip
        self.clock_skew = Gauge(
            "playgate_clock_skew_seconds",
            "How far this machine's clock is ahead of Dailymotion's; NaN before the first answer.",
            registry=registry,
        )  # fmt: skip
        self.clock_skew.set(nan)
        self.playlist_checks = Counter(
            "playgate_playlist_checks_total",
            "Checks of a video's playlists (delivery.mode validate), by verdict.",
            ["verdict"], registry=registry,
        )  # fmt: skip
        self.playlist_findings = Counter(
            "playgate_playlist_findings_total",
            "Playlists in which a rule was found broken, checked or relayed.",
            ["rule"], registry=registry,
        )  # fmt: skip
        self.playlist_check_duration = Histogram(
            "playgate_playlist_check_duration_seconds",
            "Applying the rules to one playlist, without fetching it.",
            registry=registry, buckets=CHECK_BUCKETS,
        )  # fmt: skip
        self.relayed_bytes = Counter(
            "playgate_relayed_bytes_total",
            "Bytes of segments, keys and the like that went through this edge, not through nginx.",
            registry=registry,
        )  # fmt: skip
        self.log_lines_lost = Counter(
            "playgate_log_lines_lost_total",
            "Log lines that nobody took: their reader stalls, or the disk is full.",
            registry=registry,
        )
        self.platform_healthy = Gauge(
            "playgate_platform_healthy",
            "1 unless the latest exchange with Dailymotion failed on their side or on ours.",
            registry=registry,
        )  # fmt: skip
        self.platform_healthy.set(1)
        self.issuer_keys_fetched = Gauge(
            "playgate_issuer_keys_fetched_timestamp_seconds",
            "When an issuer's keys were last fetched, in seconds since 1970; 0 for never.",
            ["issuer"], registry=registry,
        )  # fmt: skip
        self.reload_successful = Gauge(
            "playgate_settings_last_reload_successful",
            "0 if the settings or keys of the last reload could not be used, and older ones are.",
            registry=registry,
        )  # fmt: skip
        self.reload_successful.set(1)
        self.reload_success_time = Gauge(
            "playgate_settings_last_reload_success_timestamp_seconds",
            "Since when the settings are in use, in seconds since 1970.", registry=registry,
        )  # fmt: skip
        self.state_duration = Histogram(
            "playgate_state_request_duration_seconds",
            "Questions to the state that instances share, as long as somebody waited for them.",
            ["operation", "outcome"], registry=registry, buckets=STATE_BUCKETS,
        )  # fmt: skip
        self.state_healthy = Gauge(
            "playgate_state_healthy",
            "1 unless a probe of the state that instances share failed, or the last pull from it.",
            registry=registry,
        )  # fmt: skip
        self.state_healthy.set(1)
        self.revocations = Gauge(
            "playgate_revocations", "Revocations in force, as this edge knows them.",
            registry=registry,
        )  # fmt: skip
        self.revocations_pulled = Gauge(
            "playgate_revocations_pulled_timestamp_seconds",
            "When the list of revocations was last brought up to date, in seconds since 1970.",
            registry=registry,
        )  # fmt: skip

        self._begin_at_nought()

    def _begin_at_nought(self) -> None:
        """Make the series of closed sets exist: there is no rise in what has no beginning."""
        closed: list[tuple[Counter | Histogram, dict[str, Iterable[str]]]] = [
            (self.plays, {"outcome": OUTCOMES}),
            (self.play_part_duration, {"part": ("edge", "upstream")}),
            (self.stream_lookups, {"call": ("own", "shared")}),
            (self.denials, {"reason": Reason}),
            (self.viewers, {"family": ("ipv4", "ipv6")}),
            (self.upstream_duration, {"operation": ("token", "video"), "outcome": ANSWERS}),
            (self.upstream_retries, {"operation": ("token", "video", "playlist", "bytes", "jwks")}),
            (self.playlist_checks, {"verdict": ("ok", "invalid", "unknown")}),
            (self.playlist_findings, {"rule": RULES}),
        ]
        for metric, labels in closed:
            for values in product(*labels.values()):
                metric.labels(**dict(zip(labels, values, strict=True)))

    def render(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self.registry)
