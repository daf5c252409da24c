"""Every alert, seen firing by a real Prometheus that looks at what is really broken."""

from __future__ import annotations

from broken import systems
from support import eventually

BORN_SO = {  # broken from the beginning
    "PlaygateClockSkew": {"playgate-clock"},
    "PlaygateIssuerKeysOld": {"playgate-issuer"},
}
FIRING = BORN_SO | {
    "PlaygateAvailabilityBurnsFast": {"playgate-token"},
    "PlaygateAvailabilityBurnsSlowly": {"playgate-token"},
    "PlaygateLatencyBurnsFast": {"playgate-slow"},
    "PlaygateLatencyBurnsSlowly": {"playgate-slow"},
    "PlaygateAccessTokenLapses": {"playgate-token"},
    "PlaygateUpstreamErrors": {"playgate-token"},
    "PlaygateDenialsSurge": {"playgate-denials", "playgate-token"},
    "PlaygateManifestsInvalid": {"playgate-garbage"},
    "PlaygateManifestsUnknown": {"playgate-robot"},
    "PlaygateStateDown": {"playgate-state"},
    "PlaygateRevocationsOld": {"playgate-state"},
    "PlaygateReloadFailed": {"playgate-reload"},
    "PlaygateInstanceDown": {"playgate-killed"},
    "PlaygateDown": {"playgate-killed"},
}
LASTING = {  # for hours after the end, a minute of haste for each
    "PlaygateAvailabilityBurnsSlowly",
    "PlaygateLatencyBurnsSlowly",
}
# Who is refused may be many at once where manifests turn invalid, or a token lapses.
BESIDES = {("PlaygateDenialsSurge", "playgate-garbage"), ("PlaygateAvailabilityBurnsFast", "playgate-garbage"), ("PlaygateAvailabilityBurnsSlowly", "playgate-garbage")}  # fmt: skip
TOKEN_TTL = 60


async def test_each_alert_fires_for_what_is_broken_and_ends_when_it_is_mended(component, tmp_path):
    seen: set[tuple[str, str]] = set()
    async with systems(component, tmp_path, in_haste=True, token_ttl=TOKEN_TTL) as (
        them,
        prometheus,
    ):

        async def firing() -> dict[str, set[str]]:
            now = await prometheus.firing()
            seen.update((alert, job) for alert, jobs in now.items() for job in jobs)
            return now

        async def the_usual_is_known() -> bool:
            await firing()
            return bool(await prometheus.query('playgate:denials:rate1d{job="playgate-denials"}'))

        async def all_fire() -> bool:
            now = await firing()
            return all(jobs <= now.get(alert, set()) for alert, jobs in FIRING.items())

        async def only_what_lasts_fires() -> bool:
            return set(await firing()) <= LASTING | set(BORN_SO)

        await eventually(the_usual_is_known, seconds=60)
        assert seen <= pairs(BORN_SO)
        await them.break_all()
        try:
            await eventually(all_fire, seconds=150)
        except TimeoutError:
            assert await firing() == FIRING
        await them.mend_all()
        try:
            await eventually(only_what_lasts_fires, seconds=150)
        except TimeoutError:
            assert await firing() == BORN_SO
    assert seen <= pairs(FIRING) | BESIDES


def pairs(alerts: dict[str, set[str]]) -> set[tuple[str, str]]:
    return {(alert, job) for alert, jobs in alerts.items() for job in jobs}
