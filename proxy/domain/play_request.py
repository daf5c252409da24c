"""A request to play a video, as it was read once."""

from dataclasses import dataclass
from typing import Literal

from proxy.domain.client_ip import Address
from proxy.domain.formats import HLS_FIELDS, Format, StreamRequest
from proxy.domain.video import VideoId

# Player pages ask for a video's details beside each play, so these are counted on their own.
CountedAs = Literal["play", "details"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayRequest:
    """Who wants to play what, and with which token.

    Attributes:
        video: what.
        viewer: whose address it comes from.
        client_ip: the address to lock a stream to; None asks for no lock.
        formats: in which formats; none stands for no particular one.
        method: of the HTTP request; only a GET uses a token, so that HEAD and OPTIONS bind none.
        token: the one token that it carries.
        counted_as: as what it counts for `[limits]`; None for what does not.
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
        """Say whether this uses the token, and so binds it (`tokens.bind_on_first_use`)."""
        return self.method == "GET"

    def build_viewer_request(self, fields: tuple[str, ...] = HLS_FIELDS) -> StreamRequest:
        """Return the request for the viewer's own stream URLs."""
        return StreamRequest(
            video=self.video, viewer=self.viewer, client_ip=self.client_ip, fields=fields
        )

    def build_edge_request(self, fields: tuple[str, ...] = HLS_FIELDS) -> StreamRequest:
        """Return the request for stream URLs that the edge fetches for this viewer."""
        return StreamRequest(video=self.video, viewer=self.viewer, fields=fields, is_for_edge=True)
