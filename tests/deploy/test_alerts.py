"""Every alert, seen firing by a real Prometheus that looks at what is really broken."""

from alert_scenarios import systems
from support import eventually

BORN_SO = {  # broken from the beginning
    "PlaygateClockSkew": {"playgate-clock"},
    "PlaygateIssuerKeysStale": {"playgate-issuer"},
}
FIRING = BORN_SO | {
    "PlaygateAvailabilityFastBurn": {"playgate-token"},
    "PlaygateAvailabilitySlowBurn": {"playgate-token"},
    "PlaygateLatencyFastBurn": {"playgate-slow"},
    "PlaygateLatencySlowBurn": {"playgate-slow"},
    "PlaygateNoPlays": {"playgate-front"},
    "PlaygateAccessTokenExpiring": {"playgate-token"},
    "PlaygateUpstreamErrors": {"playgate-token"},
    "PlaygateRefusalsSpike": {"playgate-refusals"},
    "PlaygateManifestsInvalid": {"playgate-garbage"},
    "PlaygateManifestsUnknown": {"playgate-robot"},
    "PlaygateStateDown": {"playgate-state"},
    "PlaygateRevocationsStale": {"playgate-state"},
    "PlaygateReloadFailed": {"playgate-reload"},
    "PlaygateInstanceDown": {"playgate-killed"},
    "PlaygateDown": {"playgate-killed"},
}
LASTING = {  # for hours after the end, a minute of haste for each
    "PlaygateAvailabilitySlowBurn",
    "PlaygateLatencySlowBurn",
}
# Whatever a busy machine makes slow, these fire for what is broken, and for nothing else. An access
# token does lapse, in haste, where its renewal waits for a second.
EXACT = {
    "PlaygateManifestsInvalid",
    "PlaygateIssuerKeysStale",
    "PlaygateReloadFailed",
    "PlaygateClockSkew",
}
TOKEN_TTL = 75  # seconds: longer than what counts as about to lapse, in haste


async def test_each_alert_fires_for_its_failure_and_ends_after_the_fix(component, tmp_path):
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
            known = 'playgate:refusals:rate10m{job="playgate-refusals"} offset 60s'
            return bool(await prometheus.query(known))

        async def all_fired() -> bool:
            await firing()
            return pairs(FIRING) <= seen

        async def only_what_lasts_fires() -> bool:
            return set(await firing()) <= LASTING | set(BORN_SO)

        await eventually(the_usual_is_known, seconds=120)
        assert exactly(seen) <= pairs(BORN_SO)
        await them.break_all()
        try:
            await eventually(all_fired, seconds=180)
        except TimeoutError:
            assert pairs(FIRING) - seen == set()
        await them.mend_all()
        try:
            await eventually(only_what_lasts_fires, seconds=150)
        except TimeoutError:
            assert await firing() == BORN_SO
    assert exactly(seen) <= pairs(FIRING)


def exactly(seen: set[tuple[str, str]]) -> set[tuple[str, str]]:
    return {(alert, job) for alert, job in seen if alert in EXACT}


def pairs(alerts: dict[str, set[str]]) -> set[tuple[str, str]]:
    return {(alert, job) for alert, jobs in alerts.items() for job in jobs}
