"""The services that request handlers use. A reload replaces all of them at once."""

from dataclasses import dataclass

from aiohttp import web

from proxy.adapters.telemetry import Telemetry
from proxy.domain.client_ip import TrustedProxies
from proxy.edge.admission import Admission
from proxy.edge.delivery import Delivery
from proxy.edge.jwks_cache import JwksCache
from proxy.edge.relay import Relay
from proxy.edge.revocations import Revocations
from proxy.edge.video_details import VideoDetailsCache
from proxy.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The settings and services that request handlers use."""

    settings: Settings
    settings_digest: str
    telemetry: Telemetry
    proxies: TrustedProxies
    admission: Admission
    delivery: Delivery
    relay: Relay
    details: VideoDetailsCache
    revocations: Revocations
    issuers: JwksCache


@dataclass(slots=True)
class ServicesRef:
    """A replaceable reference to the current services. A reload replaces all of them at once."""

    services: Services


# In-flight requests keep the services they started with.
SERVICES: web.RequestKey[Services] = web.RequestKey("services", Services)
