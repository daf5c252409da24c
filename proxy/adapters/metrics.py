"""All Prometheus metrics with their labels and buckets.

Metric names are a public interface; a test lists them. Label values come from fixed sets, never
from an ID, an address, a token or a raw path.
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
from proxy.domain.reasons import Reason
from proxy.hls.lint.rules import RULES

# A local decision takes 50 µs to 10 ms, a request with an upstream call 50 ms to 10 s.
REQUEST_BUCKETS = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
CHECK_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
STATE_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2)
UPSTREAM_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 3, 4, 5, 10)

PLAY_OUTCOMES = ("redirected", "relayed", "listed", "refused", "failed", "abandoned")
UPSTREAM_OUTCOMES = ("ok", "refused", "throttled", "error", "timeout", "unreachable")
RETRIED_OPERATIONS = ("token", "video", "playlist", "bytes", "jwks")


class HttpMetrics:
    """Requests on both ports."""

    def __init__(self, make: MetricFactory) -> None:
        self.requests = make.counter(
            "playgate_http_requests_total", "Completed HTTP requests on both ports.",
            route=ANY_VALUE, method=ANY_VALUE, code=ANY_VALUE,
        )  # fmt: skip
        self.duration = make.histogram(
            "playgate_http_request_duration_seconds",
            "Duration of HTTP requests in seconds, from received headers to sent response.",
            REQUEST_BUCKETS, route=ANY_VALUE,
        )  # fmt: skip
        self.in_flight = 0
        make.gauge("playgate_http_requests_in_flight", "HTTP requests in flight.").set_function(
            lambda: self.in_flight
        )
        self.refusals = make.counter(
            "playgate_refusals_total", "Refused requests, by reason.", reason=Reason
        )
        self.relayed_bytes = make.counter(
            "playgate_relayed_bytes_total",
            "Bytes of segments, keys and other files that this edge relayed itself, without nginx.",
        )


class PlayMetrics:
    """Plays: requests to /play and /stream-urls."""

    def __init__(self, make: MetricFactory) -> None:
        self.total = make.counter(
            "playgate_plays_total",
            "Play requests, by outcome: redirected, relayed, listed (/stream-urls), refused (4xx), "
            "failed (5xx), or abandoned by the client.",
            outcome=PLAY_OUTCOMES,
        )
        self.duration = make.histogram(
            "playgate_play_duration_seconds",
            "Duration of successful plays, from the received headers to the response, in seconds.",
            REQUEST_BUCKETS,
        )
        self.part_duration = make.histogram(
            "playgate_play_part_duration_seconds",
            "Duration of successful plays in seconds, split into the wait for Dailymotion and its "
            "CDN (upstream) and the edge's own part (edge).",
            REQUEST_BUCKETS, part=("edge", "upstream"),
        )  # fmt: skip
        self.viewers = make.counter(
            "playgate_viewers_total", "Play requests, by the viewer's address family.",
            family=("ipv4", "ipv6"),
        )  # fmt: skip


class UpstreamMetrics:
    """Requests to Dailymotion and its CDN."""

    def __init__(self, make: MetricFactory) -> None:
        self.duration = make.histogram(
            "playgate_upstream_request_duration_seconds",
            "Duration of each request attempt to Dailymotion, its CDN or an issuer, in seconds.",
            UPSTREAM_BUCKETS, operation=ANY_VALUE, outcome=ANY_VALUE,
        )  # fmt: skip
        for operation, outcome in product(("token", "video"), UPSTREAM_OUTCOMES):
            self.duration.labels(operation=operation, outcome=outcome)
        self.retries = make.counter(
            "playgate_upstream_retries_total",
            "Retries of requests to Dailymotion, its CDN or an issuer.",
            operation=RETRIED_OPERATIONS,
        )
        self.stream_lookups = make.counter(
            "playgate_stream_lookups_total",
            'Stream URL lookups: with an API call of their own (coalesced="false"), or sharing a '
            'call in flight ("true").',
            coalesced=("false", "true"),
        )
        self.calls = make.gauge(
            "playgate_upstream_calls",
            "API calls and fetches of relayed playlists: active, or waiting for a free slot.",
            "operation", "state",
        )  # fmt: skip
        self.clock_skew = make.gauge(
            "playgate_clock_skew_seconds",
            "Seconds that this machine's clock is ahead of Dailymotion's; negative if behind, "
            "NaN before the first response.",
            value=nan,
        )
        self.healthy = make.gauge(
            "playgate_platform_healthy",
            "0 if the latest token or video request failed because of Dailymotion, the network or "
            "the account; otherwise 1.",
            value=1,
        )
        self.token_expiry = make.gauge(
            "playgate_access_token_expiry_timestamp_seconds",
            "Unix time at which the account's access token expires; 0 before the first token.",
        )
        self.token_refresh = make.gauge(
            "playgate_access_token_refresh_timestamp_seconds",
            "Unix time at which the access token is refreshed next; 0 before the first token.",
        )


class PlaylistMetrics:
    """Checked and relayed playlists."""

    def __init__(self, make: MetricFactory) -> None:
        self.checks = make.counter(
            "playgate_playlist_checks_total",
            'Checks of a video\'s playlists (delivery.mode = "validate"), by verdict.',
            verdict=("ok", "invalid", "unknown"),
        )
        self.findings = make.counter(
            "playgate_playlist_findings_total",
            "Checked playlists that violate a rule, by rule.",
            rule=RULES,
        )
        self.check_duration = make.histogram(
            "playgate_playlist_check_duration_seconds",
            "Duration of checking one playlist against the rules, without fetching it, in seconds.",
            CHECK_BUCKETS,
        )
        self.rewrite_duration = make.histogram(
            "playgate_playlist_rewrite_duration_seconds",
            "Duration of rewriting one relayed playlist, without fetching it, in seconds.",
            CHECK_BUCKETS,
        )
        self.templates = make.counter(
            "playgate_playlist_templates_total",
            "Relayed playlists: rendered from a cached template, rewritten (new), or rewritten "
            "because their URLs may contain signatures (not-reusable).",
            result=("cached", "new", "not-reusable"),
        )


class StateMetrics:
    """The state that instances share."""

    def __init__(self, make: MetricFactory) -> None:
        self.duration = make.histogram(
            "playgate_state_request_duration_seconds",
            "Duration of shared-state requests, as the caller saw it, in seconds.",
            STATE_BUCKETS, operation=ANY_VALUE, outcome=ANY_VALUE,
        )  # fmt: skip
        self.healthy = make.gauge(
            "playgate_state_healthy",
            "0 if the latest probe of the shared state, or the latest pull from it, failed; "
            "otherwise 1.",
            value=1,
        )
        self.revocations = make.gauge(
            "playgate_revocations", "Revocations in force that this edge has loaded."
        )
        self.revocations_pulled = make.gauge(
            "playgate_revocations_pulled_timestamp_seconds",
            "Unix time at which the list of revocations was last updated.",
        )


class SettingsMetrics:
    """Reloads of settings and keys, and when issuers' keys were fetched."""

    def __init__(self, make: MetricFactory) -> None:
        self.reload_successful = make.gauge(
            "playgate_settings_last_reload_successful",
            "0 if the latest reload failed and older settings or keys stay in use; otherwise 1.",
            value=1,
        )
        self.reload_success_time = make.gauge(
            "playgate_settings_last_reload_success_timestamp_seconds",
            "Unix time at which the current settings were loaded.",
        )
        self.issuer_keys_fetched = make.gauge(
            "playgate_issuer_keys_fetched_timestamp_seconds",
            "Unix time at which an issuer's keys were last fetched; 0 if never.",
            "issuer",
        )


class Metrics:
    """All metrics of one edge, in their own registry."""

    def __init__(self) -> None:
        # Omit the `_created` series, which would double the number of series unused.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no annotations
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
            "Log lines dropped because their reader stalled or the disk was full.",
        )

    def render(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self.registry)
