"""Check with a real Prometheus that each alert fires for a real failure and then ends."""

from alert_scenarios import run_systems
from support import wait_until

BROKEN_FROM_START = {
    "PlaygateClockSkew": {"playgate-clock"},
    "PlaygateIssuerKeysStale": {"playgate-issuer"},
}
FIRING = BROKEN_FROM_START | {
    "PlaygateAvailabilityFastBurn": {"playgate-token"},
    "PlaygateAvailabilitySlowBurn": {"playgate-token"},
    "PlaygateLatencyFastBurn": {"playgate-slow"},
    "PlaygateLatencySlowBurn": {"playgate-slow"},
    "PlaygateNoPlays": {"playgate-front"},
    "PlaygateAccessTokenExpiring": {"playgate-token"},
    "PlaygateUpstreamErrors": {"playgate-token"},
    "PlaygateRefusalsSpike": {"playgate-refusals"},
    "PlaygatePlaylistsInvalid": {"playgate-garbage"},
    "PlaygatePlaylistsUnknown": {"playgate-robot"},
    "PlaygateStateDown": {"playgate-state"},
    "PlaygateRevocationsStale": {"playgate-state"},
    "PlaygateReloadFailed": {"playgate-reload"},
    "PlaygateInstanceDown": {"playgate-killed"},
    "PlaygateDown": {"playgate-killed"},
}
LASTING = {  # keep firing for hours after the failure; a minute for each in shortened rules
    "PlaygateAvailabilitySlowBurn",
    "PlaygateLatencySlowBurn",
}
# Even on a busy, slow machine, these alerts fire only for their own failure. Not so the others: with
# shortened times, an access token expires if its refresh is delayed by a second.
EXACT = {
    "PlaygatePlaylistsInvalid",
    "PlaygateIssuerKeysStale",
    "PlaygateReloadFailed",
    "PlaygateClockSkew",
}
TOKEN_TTL = 75  # seconds; longer than the shortened threshold of PlaygateAccessTokenExpiring


async def test_each_alert_fires_for_its_failure_and_ends_after_the_fix(component, tmp_path):
    seen: set[tuple[str, str]] = set()
    async with run_systems(component, tmp_path, in_haste=True, token_ttl=TOKEN_TTL) as (
        systems,
        prometheus,
    ):

        async def find_firing() -> dict[str, set[str]]:
            now = await prometheus.find_firing_alerts()
            seen.update((alert, job) for alert, jobs in now.items() for job in jobs)
            return now

        async def has_usual_rate() -> bool:
            await find_firing()
            usual_rate = 'playgate:refusals:rate10m{job="playgate-refusals"} offset 60s'
            return bool(await prometheus.query(usual_rate))

        async def have_all_fired() -> bool:
            await find_firing()
            return list_pairs(FIRING) <= seen

        async def do_only_lasting_alerts_fire() -> bool:
            return set(await find_firing()) <= LASTING | set(BROKEN_FROM_START)

        await wait_until(has_usual_rate, seconds=120)
        assert select_exact(seen) <= list_pairs(BROKEN_FROM_START)
        await systems.break_all()
        try:
            await wait_until(have_all_fired, seconds=180)
        except TimeoutError:
            assert list_pairs(FIRING) - seen == set()
        await systems.repair_all()
        try:
            await wait_until(do_only_lasting_alerts_fire, seconds=150)
        except TimeoutError:
            assert await find_firing() == BROKEN_FROM_START
    assert select_exact(seen) <= list_pairs(FIRING)


def select_exact(seen: set[tuple[str, str]]) -> set[tuple[str, str]]:
    return {(alert, job) for alert, job in seen if alert in EXACT}


def list_pairs(alerts: dict[str, set[str]]) -> set[tuple[str, str]]:
    return {(alert, job) for alert, jobs in alerts.items() for job in jobs}
