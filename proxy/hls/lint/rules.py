"""The rules for playlists: their severity, their section of RFC 8216bis, and their message.

The section `hls` marks rules that are not in the specification.

`unplayable`: no player could play it, and delivery refuses it. `error`: it violates the
specification. `warning`: it is unusual or discouraged, or it violates the specification but players
accept it.
"""

from dataclasses import dataclass

from proxy.hls.lint.media_rules import MEDIA_RULES
from proxy.hls.lint.multivariant_rules import MULTIVARIANT_RULES
from proxy.hls.lint.severity import E, RuleRow, Severity, U, W


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule. The fields of its message are filled in for each finding."""

    id: str
    severity: Severity
    section: str
    message: str


COMMON_RULES: tuple[RuleRow, ...] = (
    # The whole text
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
    ("line-end", W, "4.1", "This line ends with CR alone, which some players do not accept."),
    (
        "normalization",
        W,
        "4.1",
        "The text of this line is not in Unicode normalization form C.",
    ),
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
    (
        "import-undefined",
        E,
        "4.4.2.3",
        "The Multivariant Playlist does not define the variable {name}.",
    ),
    ("empty", U, "4.1", "The playlist has neither variants nor segments."),
)

RULES = {row[0]: Rule(*row) for row in (*COMMON_RULES, *MULTIVARIANT_RULES, *MEDIA_RULES)}
