"""No session takes what others need, and no network by beginning many of them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from ipaddress import ip_network

import pytest

from proxy.domain.reasons import Refusal
from proxy.domain.seal import Session
from proxy.edge.session_limits import MAX_OF_NETWORK, MAX_OF_SESSION, SessionLimits

SESSION = Session(
    video="x8abcd",
    network=ip_network("203.0.113.0/24"),
    started_at=1,
    jti=None,
    subject=None,
    issued_at=1,
)


@pytest.mark.parametrize("kind", ["playlist", "bytes"])
def test_a_network_has_its_share_in_however_many_sessions(kind):
    limits = SessionLimits()
    with ExitStack() as under_way:
        for n in range(MAX_OF_NETWORK[kind]):
            session = replace(SESSION, started_at=n // MAX_OF_SESSION[kind])
            under_way.enter_context(limits.request(kind, session))
        with pytest.raises(Refusal, match="of this network are under way"):
            under_way.enter_context(limits.request(kind, replace(SESSION, started_at=99)))
        elsewhere = replace(SESSION, network=ip_network("198.51.100.0/24"))
        with limits.request(kind, elsewhere):
            pass
        other = "bytes" if kind == "playlist" else "playlist"
        with limits.request(other, SESSION):
            pass
    with limits.request(kind, SESSION):
        pass
