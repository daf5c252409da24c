"""The parsed play request that the rest of the edge works with."""

from dataclasses import dataclass
from typing import Literal

from proxy.domain.client_ip import Address
from proxy.domain.formats import HLS_FIELDS, Format, StreamRequest
from proxy.domain.video import VideoId

# The player page requests a video's details with each play, so both have counters of their own.
CountedAs = Literal["play", "details"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayRequest:
    """A viewer's request to play a video with a token.

    Attributes:
        video: the ID of the requested video.
        viewer: the viewer's address.
        client_ip: the address to lock a stream to; None requests no lock.
        formats: the requested formats; empty if the request names no format.
        method: the HTTP method; only GET uses a token, so HEAD and OPTIONS bind no token.
        token: the request's only token.
        counted_as: the counter of `[limits]` for this request; None if it is not counted.
    """

    video: VideoId
    viewer: Address
    client_ip: Address | None
    formats: tuple[Format, ...]
    method: str
    token: str
    counted_as: CountedAs | None = "play"

    @property
    def binds_token(self) -> bool:
        """Whether this request uses the token, and so binds it (`tokens.bind_on_first_use`)."""
        return self.method == "GET"

    def build_viewer_request(self, fields: tuple[str, ...] = HLS_FIELDS) -> StreamRequest:
        """Return the request for stream URLs that this viewer's player fetches."""
        return StreamRequest(
            video=self.video, viewer=self.viewer, client_ip=self.client_ip, fields=fields
        )

    def build_edge_request(self, fields: tuple[str, ...] = HLS_FIELDS) -> StreamRequest:
        """Return the request for stream URLs that the edge fetches for this viewer."""
        return StreamRequest(video=self.video, viewer=self.viewer, fields=fields, is_for_edge=True)
