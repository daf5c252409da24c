"""Tests of probes, which require the operator key and expire after a minute."""

import pytest

from proxy.domain.probe import PROBE_TTL_SECONDS, check_probe, sign_probe
from proxy.domain.reasons import Reason, Refusal

KEY, NOW = "k" * 16, 1_800_000_000
PROBE = sign_probe(KEY, now=NOW)


@pytest.mark.parametrize("now", [NOW, NOW + 0.5, NOW + PROBE_TTL_SECONDS - 1, NOW - 1])
def test_a_probe_is_valid_for_a_minute(now):
    check_probe(PROBE, KEY, now=now)


@pytest.mark.parametrize(
    ("probe", "key", "now"),
    [
        (PROBE, KEY, NOW + PROBE_TTL_SECONDS),
        (PROBE, KEY, NOW - 2),
        (PROBE, "l" * 16, NOW),
        (PROBE, "", NOW),
        (sign_probe("", now=NOW), "", NOW),
        (PROBE[:-1], KEY, NOW),
        (f"{PROBE}\n", KEY, NOW),
        (f"9{PROBE}", KEY, NOW),
        (f"{int(PROBE[:10]) + 1}{PROBE[10:]}", KEY, NOW),
        (PROBE.upper(), KEY, NOW),
        ("", KEY, NOW),
        (KEY, KEY, NOW),
    ],
)
def test_an_invalid_probe_is_refused_as_not_found(probe, key, now):
    with pytest.raises(Refusal) as refused:
        check_probe(probe, key, now=now)

    assert refused.value.reason is Reason.NOT_FOUND
    assert refused.value.message == Reason.NOT_FOUND.message


def test_a_probe_does_not_contain_the_key():
    assert KEY not in PROBE
