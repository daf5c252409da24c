"""What the handlers work with: made by `wiring`, read-only afterwards."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from proxy.adapters.dailymotion.cdn import Cdn
from proxy.adapters.logs import Logger
from proxy.adapters.metrics import Metrics
from proxy.domain.client_ip import PrivateViewers, TrustedProxies
from proxy.edge.admission import Admission
from proxy.edge.delivery import Delivery
from proxy.edge.health import Health
from proxy.edge.issuers import Issuers
from proxy.edge.minting import Minting
from proxy.edge.relay import Relay
from proxy.edge.revocations import Revocations
from proxy.edge.video_details import VideoDetails


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewers:
    """How to tell whose request it is."""

    proxies: TrustedProxies
    forwarded_header: str
    private: PrivateViewers
    loopback_viewers: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything that a request may need."""

    admission: Admission
    details: VideoDetails
    delivery: Delivery
    relay: Relay
    revocations: Revocations
    issuers: Issuers
    cdn: Cdn
    minting: Minting
    health: Health
    viewers: Viewers
    metrics: Metrics
    log: Logger
    token_cookie: str
    video_id_pattern: re.Pattern[str]
    auth_paths: tuple[re.Pattern[str], ...]
    operator_key: str
    now: Callable[[], float]  # seconds since 1970
    page_hosts: tuple[str, ...]
    embed_origins: tuple[str, ...]
    settings_digest: str


@dataclass(slots=True)
class Current:
    """The services of the moment; a reload puts others in their place, all at once."""

    services: Services


# A request is answered with those that there were when it came.
SERVICES: web.RequestKey[Services] = web.RequestKey("services", Services)
