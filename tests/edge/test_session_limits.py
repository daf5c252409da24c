"""A session, or a network with many sessions, cannot use up the capacity of the others."""

from contextlib import ExitStack
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from proxy.domain.reasons import Refusal
from proxy.domain.seal import Session
from proxy.edge.relay_sessions import MAX_PER_NETWORK, MAX_PER_SESSION, SessionLimits

SESSION = Session(
    video="x8abcd",
    network=ip_network("0.0.0.0/0"),
    started_at=1,
    jti=None,
    subject=None,
    issued_at=1,
)


VIEWER, NEIGHBOUR, ELSEWHERE = map(ip_address, ("203.0.113.5", "203.0.113.77", "198.51.100.5"))
SHARE = {**MAX_PER_NETWORK, "reload": 192}


@pytest.mark.parametrize("kind", SHARE)
def test_a_network_reaches_its_limit_however_many_sessions_it_begins(kind):
    limits = SessionLimits(places=384)
    with ExitStack() as in_flight:
        for n in range(SHARE[kind]):
            session = replace(SESSION, started_at=n // MAX_PER_SESSION[kind])
            in_flight.enter_context(limits.request(kind, session, VIEWER))
        with pytest.raises(Refusal, match=r"this network already has \d+ \w+ requests in flight"):
            in_flight.enter_context(
                limits.request(kind, replace(SESSION, started_at=99), NEIGHBOUR)
            )
        # The viewer's network counts, because a token may name a network of any size.
        with limits.request(kind, replace(SESSION, started_at=99), ELSEWHERE):
            pass
        other = "bytes" if kind == "playlist" else "playlist"
        with limits.request(other, SESSION, VIEWER):
            pass
    with limits.request(kind, SESSION, VIEWER):
        pass
