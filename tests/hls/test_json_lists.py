"""Asset lists and steering manifests of relay sessions."""

import json

import pytest

from proxy.hls.json_lists import (
    MAX_ASSETS,
    JsonListInvalidError,
    seal_asset_list,
    strip_steering,
)


def seal(uri: str) -> str | None:
    return None if "evil" in uri else f"sealed:{uri}"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"null", b"[" * 100_000, b'{"VERSION": 2}', b"\xff"]
)
def test_a_body_that_is_no_list_is_an_error(body):
    with pytest.raises(JsonListInvalidError):
        strip_steering(body)
    with pytest.raises(JsonListInvalidError):
        seal_asset_list(body, seal)


def test_a_steering_manifest_keeps_its_safe_members():
    manifest = {
        "VERSION": 1, "TTL": 300.5, "RELOAD-URI": "https://up.example/s?x=1", "PATHWAY-PRIORITY": ["a", "b/c", 3, "d"],
        "PATHWAY-CLONES": [{"BASE-ID": "a", "ID": "e", "URI-REPLACEMENT": {"HOST": "evil.test"}}], "X": "https://up.example",
    }  # fmt: skip
    body = json.dumps(manifest).encode()

    assert json.loads(strip_steering(body, seal)) == {
        "VERSION": 1,
        "TTL": 300.5,
        "RELOAD-URI": "sealed:https://up.example/s?x=1",
        "PATHWAY-PRIORITY": ["a", "d"],
    }
    assert "RELOAD-URI" not in json.loads(strip_steering(body))


@pytest.mark.parametrize(
    ("members", "written"),
    [
        ({"TTL": 1e300}, {"TTL": 86_400}),
        ({"TTL": "x"}, {}),
        ({"TTL": True}, {}),
        ({"TTL": -1}, {}),
        ({"TTL": float("nan")}, {}),
        ({"RELOAD-URI": "https://evil.test/"}, {}),
        ({"RELOAD-URI": 1}, {}),
    ],
)
def test_unusable_members_of_a_steering_manifest_are_left_out(members, written):
    body = json.dumps({"VERSION": 1, "PATHWAY-PRIORITY": ["a"], **members}).encode()

    expected = {"VERSION": 1, "PATHWAY-PRIORITY": ["a"], **written}
    assert json.loads(strip_steering(body, seal)) == expected


def test_an_asset_list_contains_relay_urls_only():
    assets = [
        {"URI": "a.m3u8", "DURATION": 15, "X": "https://up.example"},
        {"URI": "https://evil.test/a.m3u8"},
        {"URI": "b.m3u8", "DURATION": "x"},
        {"URI": 1},
        "c.m3u8",
        *({"URI": "d"} for _ in range(MAX_ASSETS)),
    ]
    written = json.loads(seal_asset_list(json.dumps({"ASSETS": assets}).encode(), seal))

    assert written["ASSETS"][:2] == [
        {"URI": "sealed:a.m3u8", "DURATION": 15},
        {"URI": "sealed:b.m3u8"},
    ]
    assert len(written["ASSETS"]) == MAX_ASSETS - 3
    assert set(written) == {"ASSETS"}
