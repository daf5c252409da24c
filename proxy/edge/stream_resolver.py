"""Resolve stream URLs at the moment of play."""

from proxy.adapters.concurrency import SingleFlight
from proxy.adapters.dailymotion.api_client import ApiClient
from proxy.adapters.dailymotion.legacy_api import LegacyApi
from proxy.adapters.dailymotion.v2_api import V2Api
from proxy.adapters.telemetry import Telemetry
from proxy.adapters.timings import UpstreamTimer
from proxy.domain.allowed_hosts import AllowedHosts
from proxy.domain.client_ip import Address
from proxy.domain.formats import StreamRequest


class StreamResolver:
    """Resolves videos to stream URLs.

    Identical concurrent requests (same video, viewer, address and formats) share one API call.
    Nothing is cached, because a stream URL is made for one viewer and short-lived.
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
        lookups = telemetry.metrics.upstream.stream_lookups
        self._count_uncoalesced = lookups.labels(coalesced="false").inc
        self._in_flight: SingleFlight[StreamRequest, dict[str, str]] = SingleFlight(
            shared=lookups.labels(coalesced="true").inc
        )

    async def resolve(self, stream_request: StreamRequest) -> dict[str, str]:
        """Return the URL of each requested field that the video has, at least one.

        Raises:
            Refusal: the video has no stream, or the API call failed.
        """
        with UpstreamTimer(self._clock):
            return await self._in_flight.join(stream_request, lambda: self._fetch(stream_request))

    async def close(self) -> None:
        """Cancel the calls in flight."""
        await self._in_flight.close()

    async def _fetch(self, stream_request: StreamRequest) -> dict[str, str]:
        self._count_uncoalesced()
        video, fields = stream_request.video, stream_request.fields
        client_ip = self._egress_ip if stream_request.is_for_edge else stream_request.client_ip
        request = self._api.build_stream_request(video, fields, client_ip)
        urls = self._api.read_streams(await self._client.fetch_object(request), fields)
        for url in urls.values():
            self._hosts.check(url)
        return urls
