"""Tests of video IDs, and of the hash that replaces private IDs in logs."""

import re

import pytest

from proxy.domain.reasons import Refusal
from proxy.domain.video import DEFAULT_PATTERN, parse_video_id, to_loggable_id


@pytest.mark.parametrize("text", ["x8abcd", "xa", "x123456789", "kAbCdEfGhIjKlMnOpQr"])
def test_video_ids_seen_in_public_are_valid(text):
    assert parse_video_id(text, re.compile(DEFAULT_PATTERN)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "X8ABCD",
        "y8abcd",
        "x8abcd\n",
        "x8 ab",
        "x8/ab",
        "..",
        "x" * 33,
        "x\uff18",
        "xé",
        "x\x00",
    ],
)
def test_other_texts_are_not_video_ids(text):
    with pytest.raises(Refusal, match="video-not-found"):
        parse_video_id(text, re.compile(DEFAULT_PATTERN))


def test_the_pattern_setting_cannot_allow_ids_that_are_unsafe_in_a_path():
    assert parse_video_id("my-video_7", re.compile(".*")) == "my-video_7"
    with pytest.raises(Refusal):
        parse_video_id("../etc", re.compile(".*"))


def test_a_private_id_is_logged_as_a_distinct_hash():
    assert to_loggable_id("x8abcd") == "x8abcd"
    assert to_loggable_id("kSecretOne") != to_loggable_id("kSecretTwo")
    assert "Secret" not in to_loggable_id("kSecretOne")
