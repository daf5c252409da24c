"""Tests of the choice of an MP4, and of the refusal if no MP4 is acceptable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.formats import (
    FORMATS,
    MP4_FILES,
    QUALITIES,
    Mp4Choice,
    choose_mp4,
    read_fields,
    read_mp4_choice,
    to_download_url,
)
from proxy.domain.reasons import Reason, Refusal


def urls(*qualities: str) -> dict[str, str]:
    return {MP4_FILES[quality].field: f"https://{quality}" for quality in qualities}


def test_the_fields_match_dailymotions_guide():
    assert list(FORMATS) == [
        "stream_hls_url",
        "stream_live_hls_url",
        "stream_h264_url",
        "stream_h264_hq_url",
        "stream_h264_hd_url",
        "stream_h264_hd1080_url",
        "stream_h264_qhd_url",
        "stream_h264_uhd_url",
    ]


@pytest.mark.parametrize(
    ("available", "requested", "exact", "chosen"),
    [
        (("sd", "hq", "hd"), "hd", False, "hd"),
        (("sd", "hq", "hd"), "uhd", False, "hd"),
        (("sd", "hd1080"), "hd", False, "sd"),
        (("sd", "hd1080"), "hd1080", True, "hd1080"),
        (("uhd",), "uhd", False, "uhd"),
    ],
)
def test_the_best_mp4_at_or_below_the_requested_quality_is_chosen(
    available, requested, exact, chosen
):
    choice = Mp4Choice(quality=requested, is_exact=exact)

    assert choose_mp4(urls(*available), choice, max_height=None) == f"https://{chosen}"


@pytest.mark.parametrize(
    ("available", "requested", "exact", "max_height", "message"),
    [
        (("hd1080", "uhd"), "hd", False, None, "This video has no MP4 at or below hd. Available: hd1080, uhd."),
        (("sd", "hd"), "hq", True, None, "This video has no MP4 hq. Available: sd, hd."),
        ((), "hd", False, None, "This video has no MP4 at or below hd. No MP4 is available. Try HLS (.m3u8)."),
        (("hd",), "hd", False, 480, "No MP4 is available within the limits of this token or service."),
        (("sd", "hd"), "hd", True, 480, "has no MP4 hd. Available within the limits of this token or service: sd."),
    ],
)  # fmt: skip
def test_a_refusal_lists_the_available_qualities(available, requested, exact, max_height, message):
    with pytest.raises(Refusal) as refused:
        choose_mp4(
            urls(*available), Mp4Choice(quality=requested, is_exact=exact), max_height=max_height
        )

    assert refused.value.reason is Reason.FORMAT_UNAVAILABLE
    assert message in refused.value.message


@given(
    available=st.sets(st.sampled_from(QUALITIES)),
    requested=st.sampled_from(QUALITIES),
    exact=st.booleans(),
    max_height=st.none() | st.integers(min_value=1, max_value=4000),
)
def test_no_mp4_above_the_requested_or_allowed_quality_is_chosen(
    available, requested, exact, max_height
):
    acceptable = [
        quality
        for quality in QUALITIES[: QUALITIES.index(requested) + 1]
        if quality in available and (max_height is None or MP4_FILES[quality].height <= max_height)
    ]
    choice = Mp4Choice(quality=requested, is_exact=exact)
    if acceptable and (acceptable[-1] == requested or not exact):
        assert (
            choose_mp4(urls(*available), choice, max_height=max_height)
            == f"https://{acceptable[-1]}"
        )
    else:
        with pytest.raises(Refusal):
            choose_mp4(urls(*available), choice, max_height=max_height)


@pytest.mark.parametrize(
    ("query", "choice"),
    [
        ([], Mp4Choice()),
        ([("token", "t"), ("x", "1"), ("quality", "uhd")], Mp4Choice(quality="uhd")),
        ([("exact", "1"), ("download", "1")], Mp4Choice(is_exact=True, is_download=True)),
        ([("exact", "0"), ("download", "0")], Mp4Choice()),
    ],
)
def test_the_query_selects_quality_exactness_and_download(query, choice):
    assert read_mp4_choice(query) == choice


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ([("quality", "4k")], "quality must be one of sd, hq, hd, hd1080, qhd, uhd."),
        ([("quality", "")], "quality must be one of"),
        ([("quality", "HD")], "quality must be one of"),
        ([("quality", "sd"), ("quality", "sd")], "quality must not be repeated."),
        ([("exact", "yes")], "exact must be 1 or 0 (the default)."),
        ([("download", "true")], "download must be 1 or 0 (the default)."),
    ],
)
def test_an_invalid_query_is_refused(query, message):
    with pytest.raises(Refusal) as refused:
        read_mp4_choice(query)

    assert refused.value.reason is Reason.REQUEST_INVALID and message in refused.value.message


def test_duplicate_formats_are_removed_in_order():
    query = [("formats", "stream_h264_url,stream_hls_url,stream_h264_url")]

    assert read_fields(query) == ("stream_h264_url", "stream_hls_url")


@pytest.mark.parametrize(
    "query",
    [
        [],
        [("formats", "")],
        [("formats", "title")],
        [("formats", "stream_hls_url,")],
        [("formats", "stream_hls_url, stream_h264_url")],
        [("formats", "stream_hls_url,private_id")],
        [("formats", "stream_hls_url"), ("formats", "stream_hls_url")],
    ],
)
def test_unknown_stream_fields_are_refused(query):
    with pytest.raises(Refusal) as refused:
        read_fields(query)

    assert refused.value.reason is Reason.REQUEST_INVALID


def test_a_download_url_keeps_its_signature_unchanged():
    signed = "https://dmcdn.net/sec2(a%2fb)/x.mp4"

    assert to_download_url(signed) == f"{signed}?download=1"
    assert to_download_url(f"{signed}?sec=a%2b") == f"{signed}?sec=a%2b&download=1"
