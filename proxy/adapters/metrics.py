"""Every metric, its labels and its buckets. Names are interface: a test lists them.

Labels come from closed sets, never from an ID, an address, a token or a raw path.
"""

from itertools import product
from math import nan

from prometheus_client import (
    CollectorRegistry,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

import proxy
from proxy.adapters.metric_factory import ANY_VALUE, MetricFactory
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
PLAY_OUTCOMES = ("redirected", "relayed", "listed", "denied", "failed", "abandoned")
UPSTREAM_OUTCOMES = ("ok", "refused", "throttled", "error", "timeout", "unreachable")
RETRIED_OPERATIONS = ("token", "video", "playlist", "bytes", "jwks")


class HttpMetrics:
    """Requests on both ports."""

    def __init__(self, make: MetricFactory) -> None:
        self.requests = make.counter(
            "playgate_http_requests_total", "Requests answered, on both ports.",
            route=ANY_VALUE, method=ANY_VALUE, code=ANY_VALUE,
        )  # fmt: skip
        self.duration = make.histogram(
            "playgate_http_request_duration_seconds", "From the head read to the answer given.",
            REQUEST_BUCKETS, route=ANY_VALUE,
        )  # fmt: skip
        self.in_flight = 0
        make.gauge("playgate_http_requests_in_flight", "Requests being answered now.").set_function(
            lambda: self.in_flight
        )
        self.refusals = make.counter(
            "playgate_refusals_total", "Requests refused, by reason.", reason=Reason
        )
        self.relayed_bytes = make.counter(
            "playgate_relayed_bytes_total",
            "Bytes of segments, keys and the like that went through this edge, not through nginx.",
        )


class PlayMetrics:
    """Plays: requests to /play and /stream-urls."""

    def __init__(self, make: MetricFactory) -> None:
        self.total = make.counter(
            "playgate_plays_total",
            "Plays asked for: redirected, relayed, listed (/stream-urls), denied (4xx), "
            "failed (5xx), or abandoned.",
            outcome=PLAY_OUTCOMES,
        )
        self.duration = make.histogram(
            "playgate_play_duration_seconds",
            "Plays that were answered with what they asked for, from the head read to the answer.",
            REQUEST_BUCKETS,
        )
        self.part_duration = make.histogram(
            "playgate_play_part_duration_seconds",
            "The same plays: what Dailymotion and its CDN took of it, and what the edge itself.",
            REQUEST_BUCKETS, part=("edge", "upstream"),
        )  # fmt: skip
        self.viewers = make.counter(
            "playgate_viewers_total", "Plays asked for, by the viewer's address family.",
            family=("ipv4", "ipv6"),
        )  # fmt: skip


class UpstreamMetrics:
    """Dailymotion and its CDN."""

    def __init__(self, make: MetricFactory) -> None:
        self.duration = make.histogram(
            "playgate_upstream_request_duration_seconds",
            "Calls to Dailymotion and its CDN, each attempt on its own.",
            UPSTREAM_BUCKETS, operation=ANY_VALUE, outcome=ANY_VALUE,
        )  # fmt: skip
        for operation, outcome in product(("token", "video"), UPSTREAM_OUTCOMES):
            self.duration.labels(operation=operation, outcome=outcome)
        self.retries = make.counter(
            "playgate_upstream_retries_total",
            "Attempts after the first.",
            operation=RETRIED_OPERATIONS,
        )
        self.stream_lookups = make.counter(
            "playgate_stream_lookups_total",
            "Stream URLs needed: with a call of their own to Dailymotion, or sharing one.",
            coalesced=("false", "true"),
        )
        self.calls = make.gauge(
            "playgate_upstream_calls",
            "Calls to Dailymotion and fetches of relayed playlists that are under way, or wait.",
            "operation", "state",
        )  # fmt: skip
        self.clock_skew = make.gauge(
            "playgate_clock_skew_seconds",
            "How far this machine's clock is ahead of Dailymotion's; NaN before the first answer.",
            value=nan,
        )
        self.healthy = make.gauge(
            "playgate_platform_healthy",
            "1 unless the latest exchange with Dailymotion failed on their side or on ours.",
            value=1,
        )
        self.token_expiry = make.gauge(
            "playgate_access_token_expiry_timestamp_seconds",
            "When the account's access token lapses, in seconds since 1970; 0 before the first.",
        )
        self.token_refresh = make.gauge(
            "playgate_access_token_refresh_timestamp_seconds",
            "When the next access token is fetched, in seconds since 1970; 0 before the first.",
        )


class PlaylistMetrics:
    """Playlists that were checked or relayed."""

    def __init__(self, make: MetricFactory) -> None:
        self.checks = make.counter(
            "playgate_playlist_checks_total",
            "Checks of a video's playlists (delivery.mode validate), by verdict.",
            verdict=("ok", "invalid", "unknown"),
        )
        self.findings = make.counter(
            "playgate_playlist_findings_total",
            "Playlists in which a rule was found broken, checked or relayed.",
            rule=RULES,
        )
        self.check_duration = make.histogram(
            "playgate_playlist_check_duration_seconds",
            "Applying the rules to one playlist, without fetching it.",
            CHECK_BUCKETS,
        )


class StateMetrics:
    """What instances share."""

    def __init__(self, make: MetricFactory) -> None:
        self.duration = make.histogram(
            "playgate_state_request_duration_seconds",
            "Questions to the state that instances share, as long as somebody waited for them.",
            STATE_BUCKETS, operation=ANY_VALUE, outcome=ANY_VALUE,
        )  # fmt: skip
        self.healthy = make.gauge(
            "playgate_state_healthy",
            "1 unless a probe of the state that instances share failed, or the last pull from it.",
            value=1,
        )
        self.revocations = make.gauge(
            "playgate_revocations", "Revocations in force, as this edge knows them."
        )
        self.revocations_pulled = make.gauge(
            "playgate_revocations_pulled_timestamp_seconds",
            "When the list of revocations was last brought up to date, in seconds since 1970.",
        )


class SettingsMetrics:
    """Settings and keys in use."""

    def __init__(self, make: MetricFactory) -> None:
        self.reload_successful = make.gauge(
            "playgate_settings_last_reload_successful",
            "0 if the settings or keys of the last reload could not be used, and older ones are.",
            value=1,
        )
        self.reload_success_time = make.gauge(
            "playgate_settings_last_reload_success_timestamp_seconds",
            "Since when the settings are in use, in seconds since 1970.",
        )
        self.issuer_keys_fetched = make.gauge(
            "playgate_issuer_keys_fetched_timestamp_seconds",
            "When an issuer's keys were last fetched, in seconds since 1970; 0 for never.",
            "issuer",
        )


class Metrics:
    """The metrics of one edge, in a registry of their own."""

    def __init__(self) -> None:
        # A second series for each counter, and nobody reads it.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # theirs has no annotations
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        make = MetricFactory(self.registry)
        make.gauge("playgate_build_info", "Always 1; the version is the label.", "version").labels(
            version=proxy.__version__
        ).set(1)
        self.http = HttpMetrics(make)
        self.plays = PlayMetrics(make)
        self.upstream = UpstreamMetrics(make)
        self.playlists = PlaylistMetrics(make)
        self.state = StateMetrics(make)
        self.settings = SettingsMetrics(make)
        self.log_lines_lost = make.counter(
            "playgate_log_lines_lost_total",
            "Log lines that nobody took: their reader stalls, or the disk is full.",
        )

    def render(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self.registry)
