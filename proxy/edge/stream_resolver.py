"""The URLs of a stream for one viewer: requested at the moment of play, shared with nobody."""

from proxy.adapters.concurrency import SingleFlight
from proxy.adapters.dailymotion.api_client import ApiClient
from proxy.adapters.dailymotion.legacy import LegacyApi
from proxy.adapters.dailymotion.v2 import V2Api
from proxy.adapters.logs import waiting_upstream
from proxy.adapters.telemetry import Telemetry
from proxy.domain.allowed_hosts import AllowedHosts
from proxy.domain.client_ip import Address
from proxy.domain.formats import StreamRequest


class StreamResolver:
    """Resolves videos to stream URLs.

    Identical requests in flight (same video, viewer, address and formats) are one call. Nothing is
    kept after the response: a stream URL is a viewer's own, and short-lived.
    """

    def __init__(
        self,
        client: ApiClient,
        api: LegacyApi | V2Api,
        hosts: AllowedHosts,
        telemetry: Telemetry,
        *,
        egress_ip: Address | None,
    ) -> None:
        self._client = client
        self._api = api
        self._hosts = hosts
        self._clock = telemetry.clock
        self._egress_ip = egress_ip
        lookups = telemetry.metrics.upstream.lookups
        self._count_own_call = lookups.labels(call="own").inc
        self._in_flight: SingleFlight[StreamRequest, dict[str, str]] = SingleFlight(
            shared=lookups.labels(call="shared").inc
        )

    async def resolve(self, wanted: StreamRequest) -> dict[str, str]:
        """Return the URLs of those fields that the video has, at least one, or refuse."""
        with waiting_upstream(self._clock):
            return await self._in_flight.join(wanted, lambda: self._fetch(wanted))

    async def close(self) -> None:
        """Give up the calls in flight."""
        await self._in_flight.close()

    async def _fetch(self, wanted: StreamRequest) -> dict[str, str]:
        self._count_own_call()
        client_ip = self._egress_ip if wanted.is_own else wanted.client_ip
        request = self._api.stream_request(wanted.video, wanted.fields, client_ip)
        urls = self._api.read_streams(await self._client.fetch_object(request), wanted.fields)
        for url in urls.values():
            self._hosts.check(url)
        return urls
