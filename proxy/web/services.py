"""What the handlers use: made anew for each change of the settings, read-only afterwards."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from proxy.adapters.telemetry import Telemetry
from proxy.domain.client_ip import TrustedProxies
from proxy.edge.admission import Admission
from proxy.edge.delivery import Delivery
from proxy.edge.issuers import Issuers
from proxy.edge.relay import Relay
from proxy.edge.revocations import Revocations
from proxy.edge.video_details import VideoDetails
from proxy.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything that a request may need."""

    settings: Settings
    settings_digest: str
    telemetry: Telemetry
    proxies: TrustedProxies
    admission: Admission
    delivery: Delivery
    relay: Relay
    details: VideoDetails
    revocations: Revocations
    issuers: Issuers


@dataclass(slots=True)
class Current:
    """The services of the moment; a reload puts others in their place, all at once."""

    services: Services


# In-flight requests keep the services they started with.
SERVICES: web.RequestKey[Services] = web.RequestKey("services", Services)
