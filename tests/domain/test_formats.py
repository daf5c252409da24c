"""Which MP4 is taken, and what is said where there is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.formats import (
    FORMATS,
    MP4_FILES,
    QUALITIES,
    Mp4Choice,
    choose_mp4,
    read_choice,
    read_fields,
    to_download_url,
)
from proxy.domain.reasons import Reason, Refusal


def urls(*qualities: str) -> dict[str, str]:
    return {MP4_FILES[quality].field: f"https://{quality}" for quality in qualities}


def test_the_fields_are_those_of_dailymotions_guide():
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
    ("there", "asked", "exact", "taken"),
    [
        (("sd", "hq", "hd"), "hd", False, "hd"),
        (("sd", "hq", "hd"), "uhd", False, "hd"),
        (("sd", "hd1080"), "hd", False, "sd"),
        (("sd", "hd1080"), "hd1080", True, "hd1080"),
        (("uhd",), "uhd", False, "uhd"),
    ],
)
def test_the_best_at_or_under_is_taken(there, asked, exact, taken):
    choice = Mp4Choice(quality=asked, is_exact=exact)

    assert choose_mp4(urls(*there), choice, max_height=None) == f"https://{taken}"


@pytest.mark.parametrize(
    ("there", "asked", "exact", "max_height", "says"),
    [
        (("hd1080", "uhd"), "hd", False, None, "This video has no MP4 at or below hd. Available: hd1080, uhd."),
        (("sd", "hd"), "hq", True, None, "This video has no MP4 hq. Available: sd, hd."),
        ((), "hd", False, None, "This video has no MP4 at or below hd. No MP4 is available. Try HLS (.m3u8)."),
        (("hd",), "hd", False, 480, "No MP4 is available within the limits of this token or service."),
        (("sd", "hd"), "hd", True, 480, "has no MP4 hd. Available within the limits of this token or service: sd."),
    ],
)  # fmt: skip
def test_what_there_is_is_listed(there, asked, exact, max_height, says):
    with pytest.raises(Refusal) as refused:
        choose_mp4(urls(*there), Mp4Choice(quality=asked, is_exact=exact), max_height=max_height)

    assert refused.value.reason is Reason.FORMAT_UNAVAILABLE
    assert says in refused.value.message


@given(
    there=st.sets(st.sampled_from(QUALITIES)),
    asked=st.sampled_from(QUALITIES),
    exact=st.booleans(),
    most=st.none() | st.integers(min_value=1, max_value=4000),
)
def test_nothing_above_what_is_asked_or_allowed_is_ever_taken(there, asked, exact, most):
    fitting = [
        quality
        for quality in QUALITIES[: QUALITIES.index(asked) + 1]
        if quality in there and (most is None or MP4_FILES[quality].height <= most)
    ]
    choice = Mp4Choice(quality=asked, is_exact=exact)
    if fitting and (fitting[-1] == asked or not exact):
        assert choose_mp4(urls(*there), choice, max_height=most) == f"https://{fitting[-1]}"
    else:
        with pytest.raises(Refusal):
            choose_mp4(urls(*there), choice, max_height=most)


@pytest.mark.parametrize(
    ("query", "choice"),
    [
        ([], Mp4Choice()),
        ([("token", "t"), ("x", "1"), ("quality", "uhd")], Mp4Choice(quality="uhd")),
        ([("exact", "1"), ("download", "1")], Mp4Choice(is_exact=True, is_download=True)),
        ([("exact", "0"), ("download", "0")], Mp4Choice()),
    ],
)
def test_a_query_says_which(query, choice):
    assert read_choice(query) == choice


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ([("quality", "4k")], "quality must be one of sd, hq, hd, hd1080, qhd, uhd."),
        ([("quality", "")], "quality must be one of"),
        ([("quality", "HD")], "quality must be one of"),
        ([("quality", "sd"), ("quality", "sd")], "quality must not be repeated."),
        ([("exact", "yes")], "exact must be 1 or 0 (the default)."),
        ([("download", "true")], "download must be 1 or 0 (the default)."),
    ],
)
def test_a_query_that_cannot_be_meant_is_refused(query, says):
    with pytest.raises(Refusal) as refused:
        read_choice(query)

    assert refused.value.reason is Reason.REQUEST_INVALID and says in refused.value.message


def test_formats_are_read_once_each_in_their_order():
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
def test_only_known_fields_are_asked_for(query):
    with pytest.raises(Refusal) as refused:
        read_fields(query)

    assert refused.value.reason is Reason.REQUEST_INVALID


def test_a_download_leaves_the_signature_alone():
    signed = "https://dmcdn.net/sec2(a%2fb)/x.mp4"

    assert to_download_url(signed) == f"{signed}?download=1"
    assert to_download_url(f"{signed}?sec=a%2b") == f"{signed}?sec=a%2b&download=1"
