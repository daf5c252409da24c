"""What instances share, as the settings say."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from proxy.adapters.state.memory import MemoryStore
from proxy.adapters.state.redis import RedisStore
from proxy.adapters.state.store import Store
from proxy.domain.revocations import Longest, Proofs
from proxy.edge.first_use import FirstUse
from proxy.edge.revocations import Revocations
from proxy.edge.state import State
from proxy.settings import Settings
from proxy.settings.checks import MEMORY
from proxy.wiring.instruments import Instruments


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What this instance shares with others, and what it makes of it."""

    state: State
    revocations: Revocations


def build_state(settings: Settings, instruments: Instruments) -> State:
    """Return the state of this instance, or of all of them."""
    url = settings.state.url.get_secret_value()
    if url == MEMORY:
        return build_private_state(settings, instruments)
    return _state(RedisStore(url, prefix=settings.state.prefix), settings, instruments)


def build_private_state(settings: Settings, instruments: Instruments) -> State:
    """Return a state that nobody else sees, for a command that is to find out for itself."""
    return _state(MemoryStore(instruments.clock), settings, instruments)


def build_revocations(settings: Settings, state: State, instruments: Instruments) -> Revocations:
    """Return which tokens were taken back."""
    return Revocations(
        state,
        clock=instruments.clock,
        metrics=instruments.metrics,
        log=instruments.log,
        staleness=settings.state.staleness,
        longest=longest_of(settings),
        on_failure=settings.state.revocations_on_failure,
        proofs=Proofs(settings.platform.api_secret.get_secret_value()),
    )


def longest_of(settings: Settings) -> Longest:
    """Return for how long a token, or what it began with its last second, may be good."""
    sessions = ceil(settings.relay.session_max) if settings.seal_secrets() else 0
    return Longest(validity=settings.tokens.max_ttl + sessions, leeway=settings.tokens.leeway)


def build_first_use(settings: Settings, state: State, instruments: Instruments) -> FirstUse:
    """Return what binds tokens to networks."""
    return FirstUse(state, instruments.clock, on_failure=settings.state.first_use_on_failure)


def _state(store: Store, settings: Settings, instruments: Instruments) -> State:
    return State(
        store,
        clock=instruments.clock,
        metrics=instruments.metrics,
        health=instruments.health,
        log=instruments.log,
        timeout=settings.state.timeout,
    )
