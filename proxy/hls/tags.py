"""The tags of HLS (RFC 8216bis): their playlists, values and attributes.

The shape of an attribute is the syntax of its value. If the value is a URI, the role is the
resource that it leads to. Other tags and attributes are allowed: vendors add their own (6.3.1).
"""

from dataclasses import dataclass
from typing import Literal

from proxy.hls.value_syntax import (
    ANY,
    CHANNELS,
    CODECS,
    CPC,
    CUE,
    DATE,
    DECIMAL,
    FRAME_RATE,
    HEX,
    INTEGER,
    IV,
    LAYOUT,
    PATHWAY,
    POSITIVE,
    RANGE,
    RANGE_AT,
    RESOLUTION,
    SIGNED,
    SOME,
    STABLE,
    SUPPLEMENTAL,
    VARIABLE,
    WORD,
    YES,
    YES_NO,
    Shape,
    one_of,
    shape,
)

Scope = Literal["any", "multivariant", "media", "segment"]
# The resource that a URI leads to. `file`: a key, a map, or anything else that is no segment.
# `asset`: the playlist of an interstitial.
Role = Literal["playlist", "segment", "file", "asset", "asset-list", "steering"]


@dataclass(frozen=True, slots=True)
class Attr:
    """An attribute: its syntax, whether it is required, and the resource that its URI leads to."""

    name: str
    shape: Shape = ANY
    required: bool = False
    role: Role | None = None


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag: its section, the playlists that may have it, whether only once, and its value."""

    name: str
    section: str
    scope: Scope
    once: bool = False
    value: Shape | None = None  # of a tag without an attribute list
    attrs: tuple[Attr, ...] = ()
    role: Role | None = None  # of a tag whose value is a URI


KEY = (
    Attr("URI", role="file"),
    Attr("IV", IV),
    Attr("KEYFORMAT"),
    Attr("KEYFORMATVERSIONS", shape("numbers such as 1/2", r"[1-9][0-9]*(?:/[1-9][0-9]*)*")),
)
VARIANT = (
    Attr("BANDWIDTH", POSITIVE, required=True),
    Attr("AVERAGE-BANDWIDTH", INTEGER),
    Attr("SCORE", DECIMAL),
    Attr("CODECS", CODECS),
    Attr("SUPPLEMENTAL-CODECS", SUPPLEMENTAL),
    Attr("RESOLUTION", RESOLUTION),
    Attr("HDCP-LEVEL", one_of("TYPE-0", "TYPE-1", "NONE", is_advice=True)),
    Attr("ALLOWED-CPC", CPC),
    Attr("VIDEO-RANGE", one_of("SDR", "HLG", "PQ")),
    Attr("REQ-VIDEO-LAYOUT", LAYOUT),
    Attr("VIDEO"),
    Attr("PATHWAY-ID", PATHWAY),
    Attr("STABLE-VARIANT-ID", STABLE),
)

RENDITION_TYPE = one_of("AUDIO", "VIDEO", "SUBTITLES", "CLOSED-CAPTIONS")
SKIPPED = Attr("SKIPPED-SEGMENTS", INTEGER, required=True)
PART_TARGET = Attr("PART-TARGET", DECIMAL, required=True)

TAGS: dict[str, Tag] = {
    tag.name: tag
    for tag in (
        Tag("EXTM3U", "4.4.1.1", "any"),
        Tag("EXT-X-VERSION", "4.4.1.2", "any", once=True, value=POSITIVE),
        Tag("EXT-X-INDEPENDENT-SEGMENTS", "4.4.2.1", "any", once=True),
        Tag(
            *("EXT-X-START", "4.4.2.2", "any"),
            once=True,
            attrs=(Attr("TIME-OFFSET", SIGNED, required=True), Attr("PRECISE", YES_NO)),
        ),
        Tag(
            *("EXT-X-DEFINE", "4.4.2.3", "any"),
            attrs=(Attr("NAME", VARIABLE), Attr("IMPORT", VARIABLE), Attr("QUERYPARAM", SOME)),
        ),
        # Media Playlist tags
        Tag("EXT-X-TARGETDURATION", "4.4.3.1", "media", once=True, value=INTEGER),
        Tag("EXT-X-MEDIA-SEQUENCE", "4.4.3.2", "media", once=True, value=INTEGER),
        Tag("EXT-X-DISCONTINUITY-SEQUENCE", "4.4.3.3", "media", once=True, value=INTEGER),
        Tag("EXT-X-ENDLIST", "4.4.3.4", "media", once=True),
        Tag("EXT-X-PLAYLIST-TYPE", "4.4.3.5", "media", once=True, value=one_of("EVENT", "VOD")),
        Tag("EXT-X-I-FRAMES-ONLY", "4.4.3.6", "media", once=True),
        Tag("EXT-X-PART-INF", "4.4.3.7", "media", once=True, attrs=(PART_TARGET,)),
        Tag(
            *("EXT-X-SERVER-CONTROL", "4.4.3.8", "media"),
            once=True,
            attrs=(
                Attr("CAN-SKIP-UNTIL", DECIMAL),
                Attr("CAN-SKIP-DATERANGES", YES_NO),
                Attr("HOLD-BACK", DECIMAL),
                Attr("PART-HOLD-BACK", DECIMAL),
                Attr("CAN-BLOCK-RELOAD", YES_NO),
            ),
        ),
        # Media Segment tags
        Tag("EXTINF", "4.4.4.1", "segment"),
        Tag("EXT-X-BYTERANGE", "4.4.4.2", "segment", value=RANGE),
        Tag("EXT-X-DISCONTINUITY", "4.4.4.3", "segment"),
        Tag("EXT-X-KEY", "4.4.4.4", "segment", attrs=(Attr("METHOD", WORD, required=True), *KEY)),
        Tag(
            *("EXT-X-MAP", "4.4.4.5", "segment"),
            attrs=(Attr("URI", SOME, required=True, role="file"), Attr("BYTERANGE", RANGE_AT)),
        ),
        Tag("EXT-X-PROGRAM-DATE-TIME", "4.4.4.6", "segment", value=DATE),
        Tag("EXT-X-GAP", "4.4.4.7", "segment"),
        Tag("EXT-X-BITRATE", "4.4.4.8", "segment", value=INTEGER),
        Tag(
            *("EXT-X-PART", "4.4.4.9", "segment"),
            attrs=(
                Attr("URI", SOME, required=True, role="segment"),
                Attr("DURATION", DECIMAL, required=True),
                Attr("INDEPENDENT", YES_NO),
                Attr("BYTERANGE", RANGE),
                Attr("GAP", YES_NO),
            ),
        ),
        # Media Metadata tags
        Tag(
            *("EXT-X-DATERANGE", "4.4.5.1", "media"),
            attrs=(
                Attr("ID", SOME, required=True),
                Attr("START-DATE", DATE),
                Attr("END-DATE", DATE),
                Attr("DURATION", DECIMAL),
                Attr("PLANNED-DURATION", DECIMAL),
                Attr("END-ON-NEXT", YES),
                Attr("CUE", CUE),
                Attr("SCTE35-CMD", HEX),
                Attr("SCTE35-OUT", HEX),
                Attr("SCTE35-IN", HEX),
                Attr("X-ASSET-URI", role="asset"),
                Attr("X-ASSET-LIST", role="asset-list"),
            ),
        ),
        Tag("EXT-X-SKIP", "4.4.5.2", "media", once=True, attrs=(SKIPPED,)),
        Tag(
            *("EXT-X-PRELOAD-HINT", "4.4.5.3", "media"),
            attrs=(
                Attr("TYPE", one_of("PART", "MAP"), required=True),
                Attr("URI", SOME, required=True, role="segment"),
                Attr("BYTERANGE-START", INTEGER),
                Attr("BYTERANGE-LENGTH", INTEGER),
            ),
        ),
        Tag(
            *("EXT-X-RENDITION-REPORT", "4.4.5.4", "media"),
            attrs=(
                Attr("URI", SOME, required=True, role="playlist"),
                Attr("LAST-MSN", INTEGER),
                Attr("LAST-PART", INTEGER),
            ),
        ),
        # Multivariant Playlist tags
        Tag(
            *("EXT-X-MEDIA", "4.4.6.1", "multivariant"),
            attrs=(
                Attr("TYPE", RENDITION_TYPE, required=True),
                Attr("URI", SOME, role="playlist"),
                Attr("GROUP-ID", SOME, required=True),
                Attr("NAME", SOME, required=True),
                Attr("DEFAULT", YES_NO),
                Attr("AUTOSELECT", YES_NO),
                Attr("FORCED", YES_NO),
                Attr("STABLE-RENDITION-ID", STABLE),
                Attr("BIT-DEPTH", INTEGER),
                Attr("SAMPLE-RATE", INTEGER),
                Attr("CHANNELS", CHANNELS),
            ),
        ),
        Tag(
            *("EXT-X-STREAM-INF", "4.4.6.2", "multivariant"),
            attrs=(
                *VARIANT,
                Attr("FRAME-RATE", FRAME_RATE),
                Attr("AUDIO"),
                Attr("SUBTITLES"),
                Attr("CLOSED-CAPTIONS"),
                Attr("PROGRESSIVE-URI", role="file"),  # older playlists of Dailymotion
            ),
        ),
        Tag(
            *("EXT-X-I-FRAME-STREAM-INF", "4.4.6.3", "multivariant"),
            attrs=(*VARIANT, Attr("URI", SOME, required=True, role="playlist")),
        ),
        Tag(
            *("EXT-X-SESSION-DATA", "4.4.6.4", "multivariant"),
            attrs=(
                Attr("DATA-ID", SOME, required=True),
                Attr("URI", SOME, role="file"),
                Attr("FORMAT", one_of("JSON", "RAW")),
            ),
        ),
        Tag(
            *("EXT-X-SESSION-KEY", "4.4.6.5", "multivariant"),
            attrs=(Attr("METHOD", WORD, required=True), *KEY),
        ),
        Tag(
            *("EXT-X-CONTENT-STEERING", "4.4.6.6", "multivariant"),
            once=True,
            attrs=(
                Attr("SERVER-URI", SOME, required=True, role="steering"),
                Attr("PATHWAY-ID", PATHWAY),
            ),
        ),
        # Tags of vendors that contain URIs
        Tag(
            *("EXT-X-IMAGE-STREAM-INF", "vendor", "multivariant"),
            attrs=(*VARIANT, Attr("URI", SOME, required=True, role="playlist")),
        ),
        Tag("EXT-X-PREFETCH", "vendor", "media", role="segment"),
        Tag("EXT-X-TWITCH-PREFETCH", "vendor", "media", role="segment"),
    )
}
