"""A token that names no network belongs to the network in which it was first used.

One network for each address family, since a viewer may reach us over both. Decided in the state, so
that of two networks that race exactly one wins, whichever instances they come to. What was decided
never changes, so an instance asks once for each token and remembers.
"""

from functools import partial

from proxy.adapters.clock import Clock
from proxy.adapters.errors import StateError
from proxy.domain.caches import Lru
from proxy.domain.play_request import PlayRequest
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.seal import network_name
from proxy.domain.tokens.claims import Claims
from proxy.domain.tokens.compact import identity_of
from proxy.edge.state import State, state_unavailable
from proxy.settings.schema import OnFailure

MARGIN = 60.0  # seconds: to an instance whose clock is behind, the token is good for longer
MAX_HOLDER = 64  # characters: longer than any network that an instance writes
REMEMBERED = 20_000  # tokens, in either address family


class FirstUse:
    """Binds tokens to networks."""

    def __init__(self, state: State, clock: Clock, *, on_failure: OnFailure) -> None:
        self._state = state
        self._clock = clock
        self._on_failure = on_failure
        self._known: Lru[str, str] = Lru(REMEMBERED)

    async def check(self, play: PlayRequest, claims: Claims) -> bool:
        """Refuse a viewer outside the network that the token is bound to.

        Returns:
            whether it is bound, or names a network itself; always if the play is a use of it.
        """
        if claims.network is not None:
            return True
        network = network_name(play.viewer)
        name = f"first-use:{identity_of(play.token)}:{play.viewer.version}"
        holder = self._known.get(name)
        if holder is None:
            try:
                holder = await self._ask(name, network, claims, binds=play.is_use)
            except StateError as error:
                if self._on_failure == "allow":
                    return play.is_use
                raise state_unavailable(error) from None
        if holder is not None and holder != network:
            raise Refusal(
                Reason.TOKEN_USED_ELSEWHERE,
                f"first used in another network (IPv{play.viewer.version})",
            )
        return holder is not None

    async def _ask(self, name: str, network: str, claims: Claims, *, binds: bool) -> str | None:
        if not binds:
            return await self._state.get(name)
        left = claims.expires_at - self._clock.now()
        return await self._state.claim(
            name,
            network,
            ttl=left + MARGIN,
            heard=partial(self._remember, name),  # late, it is good for the player's next try
        )

    def _remember(self, name: str, holder: str) -> None:
        self._known[name] = holder[:MAX_HOLDER]
