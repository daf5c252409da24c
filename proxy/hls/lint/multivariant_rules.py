"""The rules for Multivariant Playlists, see rules.py."""

from proxy.hls.lint.severity import E, RuleRow, U, W

MULTIVARIANT_RULES: tuple[RuleRow, ...] = (
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
    (
        "group-members",
        W,
        "4.4.6.1.1",
        "Group {group} and group {other} of TYPE={type} have renditions with different NAMEs.",
    ),
    ("frames-only", E, "4.4.6.3", "An I-frame playlist requires EXT-X-I-FRAMES-ONLY."),
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
)
