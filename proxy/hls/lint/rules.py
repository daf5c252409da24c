"""Every rule about playlists, as a table: what is found, how bad it is, where it is written.

Sections are RFC 8216bis's; `hls` marks what is no rule of it but keeps players from playing.

`unplayable`: no player could play it, and delivery refuses it. `error`: the specification says
no. `warning`: it is unusual, or only advised against.
"""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["warning", "error", "unplayable"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule by its id; the message's fields are filled in where it is found broken."""

    id: str
    severity: Severity
    section: str
    message: str


W, E, U = "warning", "error", "unplayable"

RULES: dict[str, Rule] = {
    rule[0]: Rule(*rule)  # type: ignore[arg-type]  # the severities are literals
    for rule in (
        # The text
        ("extm3u", U, "4.4.1.1", "This is not a playlist: the first line is not #EXTM3U."),
        ("encoding", E, "4.1", "The playlist is not valid UTF-8."),
        ("control-character", E, "4.1", "This line contains a control character."),
        ("size", E, "hls", "The playlist is larger than {limit} bytes; it was not checked."),
        ("excess", E, "hls", "The playlist has more than {limit} {what}; it was not checked."),
        ("line-length", E, "hls", "This line is longer than {limit} bytes."),
        ("bom", W, "4.1", "A byte order mark precedes #EXTM3U; hls.js rejects the playlist."),
        (
            "blank-first",
            W,
            "4.4.1.1",
            "Blank lines precede #EXTM3U; hls.js and ffmpeg reject the playlist.",
        ),
        ("markup", W, "4.1", "This line is markup, not a URI; some players request it."),
        (
            "nested",
            E,
            "4.1",
            "A variant or rendition must not be a Multivariant Playlist itself.",
        ),
        ("indented", E, "4.1", "This tag is indented; most players request it as a URI."),
        ("self-reference", E, "4.1", "This URI is that of the Multivariant Playlist itself."),
        ("deprecated", W, "8", "{name} was removed in version {version}; players ignore it."),
        ("relay-drops", W, "hls", "The relay leaves this line out."),
        ("relay-changes", W, "hls", "The relay changes this line."),
        ("relay-gap", W, "hls", "The relay marks this segment as a gap."),
        ("relay-refuses", W, "hls", "The relay refuses this playlist: {why}."),
        ("last-line", W, "4.1", "The last line has no line ending; the playlist may be truncated."),
        ("content-type", W, "4", "The content type is {found}, not application/vnd.apple.mpegurl."),
        ("content-type-missing", W, "4", "The response has no Content-Type header."),
        ("fetch", E, "hls", "{what} cannot be fetched: {why}."),
        # Every tag
        ("tag-repeated", E, "4.4", "{tag} ({section}) must occur only once."),
        ("tag-value", E, "4.4", "The value of {tag} ({section}) must be {words}."),
        (
            "tags-mixed",
            E,
            "4.4.6",
            "{tag} is only for {scope} playlists; this is a {kind} playlist.",
        ),
        ("attribute-missing", E, "4.2", "{tag} ({section}) requires the attribute {name}."),
        ("attribute-forbidden", E, "4.2", "{tag} ({section}) must not have {name} {when}."),
        ("attribute-repeated", E, "4.2", "{tag} has the attribute {name} twice."),
        ("attribute-value", E, "4.2", "{name} of {tag} ({section}) must be {words}."),
        ("attribute-advice", W, "4.2", "{name} of {tag} ({section}) should be {words}."),
        (
            "attribute-text",
            E,
            "4.2",
            "In the attribute list of {tag}, stray text follows the value of {name}.",
        ),
        (
            "attribute-syntax",
            W,
            "4.2",
            "The attribute list of {tag} has a syntax error near {name}.",
        ),
        ("uri", E, "4.1", "This URI is not allowed: {why}."),
        (
            "version-high",
            W,
            "8",
            "Version {found} is declared; version {needed} would be enough.",
        ),
        ("version-low", E, "8", "{feature} requires EXT-X-VERSION {needed}; {found} is declared."),
        (
            "version-missing",
            W,
            "8",
            "{feature} requires EXT-X-VERSION {needed}; no version is declared.",
        ),
        (
            *("version-needed", E, "8"),
            "{feature} requires EXT-X-VERSION {needed}; no version is declared.",
        ),
        (
            *("define", E, "4.4.2.3"),
            "EXT-X-DEFINE requires NAME and VALUE, or QUERYPARAM, or (in a Media Playlist) IMPORT.",
        ),
        ("define-repeated", E, "4.4.2.3", "The variable {name} is defined twice."),
        ("variable-undefined", E, "4.3", "The variable {name} is used before it is defined."),
        ("empty", U, "4.1", "The playlist has neither variants nor segments."),
        # Multivariant Playlists
        (
            "variants-none",
            U,
            "4.4.6.2",
            "The playlist has no variants, so there is nothing to play.",
        ),
        ("variant-uri", E, "4.4.6.2", "EXT-X-STREAM-INF is not followed by a URI."),
        ("variant-stray", W, "4.4.6.2", "This URI has no EXT-X-STREAM-INF before it."),
        ("group", E, "4.4.6.2", "No EXT-X-MEDIA has TYPE={type} and GROUP-ID {group}."),
        (
            "captions-none",
            E,
            "4.4.6.2",
            "If one variant has CLOSED-CAPTIONS=NONE, every variant must have it.",
        ),
        ("score-some", W, "4.4.6.2", "Other variants have a SCORE, but this variant does not."),
        ("media-name", E, "4.4.6.1.1", "Two renditions of group {group} have the NAME {name}."),
        ("media-default", E, "4.4.6.1.1", "Two renditions of group {group} are DEFAULT=YES."),
        (
            "media-autoselect",
            E,
            "4.4.6.1",
            "A rendition with DEFAULT=YES must not have AUTOSELECT=NO.",
        ),
        ("steering-pathway", E, "4.4.6.6", "No variant has the PATHWAY-ID {name}."),
        ("session-data", E, "4.4.6.4", "EXT-X-SESSION-DATA requires either VALUE or URI."),
        (
            "session-data-repeated",
            E,
            "4.4.6.4",
            "DATA-ID {name} occurs twice with the same LANGUAGE.",
        ),
        ("session-key-none", E, "4.4.6.5", "METHOD of EXT-X-SESSION-KEY must not be NONE."),
        ("session-key-repeated", E, "4.4.6.5", "The same EXT-X-SESSION-KEY occurs twice."),
        # Media Playlists
        ("segments-none", U, "4.4.3.4", "The playlist has ended but has no segments."),
        ("segments-yet", W, "6.2.1", "The playlist has no segments yet."),
        ("target-duration", E, "4.4.3.1", "EXT-X-TARGETDURATION is missing."),
        (
            "segment-long",
            E,
            "4.4.3.1",
            "The duration of {duration} s exceeds EXT-X-TARGETDURATION, {target}.",
        ),
        ("extinf", E, "4.4.4.1", "This segment has no EXTINF."),
        ("extinf-value", E, "4.4.4.1", "EXTINF must be a duration in seconds, then a comma."),
        ("extinf-comma", W, "4.4.4.1", "The duration of EXTINF is not followed by a comma."),
        ("segment-uri", E, "4.4.4", "This tag applies to a segment, but no segment URI follows."),
        ("sequence-late", E, "4.4.3", "{tag} must precede the first segment."),
        ("discontinuity-late", E, "4.4.3.3", "{tag} must precede every EXT-X-DISCONTINUITY."),
        (
            "byterange",
            E,
            "4.4.4.2",
            "A BYTERANGE without offset must follow a range of the same resource.",
        ),
        ("key-uri", E, "4.4.4.4", "A key with METHOD={method} requires a URI."),
        (
            *("map-iv", E, "4.4.4.5"),
            "An EXT-X-MAP that is encrypted with AES-128 requires an IV in its EXT-X-KEY.",
        ),
        ("key-none", E, "4.4.4.4", "A key with METHOD=NONE must have no other attribute."),
        ("gap-part", E, "6.2.1", "A part of a segment with EXT-X-GAP must have GAP=YES."),
        (
            "daterange-start",
            E,
            "4.4.5.1",
            "The first EXT-X-DATERANGE of an ID requires START-DATE.",
        ),
        ("daterange-end", E, "4.4.5.1", "END-DATE is before START-DATE."),
        ("daterange-length", E, "4.4.5.1", "END-DATE is not START-DATE plus DURATION."),
        (
            "daterange-next",
            E,
            "4.4.5.1",
            "END-ON-NEXT requires CLASS and excludes DURATION and END-DATE.",
        ),
        (
            "daterange-overlap",
            E,
            "4.4.5.1",
            "This range overlaps another of CLASS {name}, which uses END-ON-NEXT.",
        ),
        ("daterange-cue", E, "4.4.5.1", "CUE must not contain both PRE and POST."),
        ("daterange-changed", E, "4.4.5.1", "{name} differs from an earlier tag with this ID."),
        (
            "daterange-clock",
            E,
            "4.4.5.1",
            "EXT-X-DATERANGE requires EXT-X-PROGRAM-DATE-TIME in the playlist.",
        ),
        (
            "interstitial-asset",
            E,
            "D.2",
            "An interstitial requires X-ASSET-URI or X-ASSET-LIST.",
        ),
        ("preload-attribute", E, "F", "A preload date range requires {name}."),
        ("preload-cue", E, "F", "A preload date range must not have CUE."),
        # Low latency
        ("frames-part", W, "4.4.3.6", "An I-frame playlist should have no EXT-X-PART."),
        ("part-inf", E, "4.4.3.7", "EXT-X-PART requires EXT-X-PART-INF with PART-TARGET."),
        ("part-long", E, "4.4.4.9", "The duration of {duration} s exceeds PART-TARGET, {target}."),
        (
            "part-short",
            E,
            "4.4.4.9",
            "The duration of {duration} s is below 85 % of PART-TARGET, {target}.",
        ),
        ("part-late", E, "4.4.4.9", "{tag} must precede the first part of its segment."),
        ("hold-back", E, "4.4.3.8", "{name}={value} must be at least {least}."),
        (
            "part-hold-back",
            E,
            "4.4.3.8",
            "EXT-X-PART-INF requires PART-HOLD-BACK in EXT-X-SERVER-CONTROL.",
        ),
        ("skip-dateranges", E, "4.4.3.8", "CAN-SKIP-DATERANGES requires CAN-SKIP-UNTIL."),
        ("hint-repeated", E, "4.4.5.3", "There are two EXT-X-PRELOAD-HINT with TYPE={type}."),
        ("hint-ended", E, "4.4.5.3", "A playlist that has ended must not have EXT-X-PRELOAD-HINT."),
        (
            "hint-missing",
            E,
            "B.1",
            "The last segment has parts, but no EXT-X-PRELOAD-HINT for the next part.",
        ),
        ("report-absolute", E, "4.4.5.4", "URI of EXT-X-RENDITION-REPORT must be relative."),
        # Live, over reloads
        ("sequence-fell", W, "6.2.2", "EXT-X-MEDIA-SEQUENCE decreased from {before} to {after}."),
        ("window-stood", W, "6.2.1", "The playlist did not grow within {seconds} s."),
        ("target-changed", W, "4.4.3.1", "EXT-X-TARGETDURATION changed from {before} to {after}."),
    )
}
