"""The syntax of the values of tags and attributes (RFC 8216bis, 4.2)."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Shape:
    """The syntax of a value: a description for messages, and a pattern."""

    words: str
    pattern: re.Pattern[str]
    is_advice: bool = False  # players accept other values, so they are a warning
    is_quoted: bool | None = None  # in an attribute list; None if playlists have both

    def fits(self, value: str) -> bool:
        """Return whether a value has this syntax."""
        if self.pattern.fullmatch(value) is None:
            return False
        return self is not DATE or moment(value) is not None


def shape(
    words: str, pattern: str, *, is_advice: bool = False, is_quoted: bool | None = None
) -> Shape:
    """Return a shape. The pattern matches whole values, each in only one way."""
    return Shape(words, re.compile(pattern, re.ASCII), is_advice, is_quoted)


def one_of(*words: str, is_advice: bool = False) -> Shape:
    """Return the shape of an enumerated string. A stray quotation mark after it is accepted."""
    listed = "|".join(map(re.escape, words))
    return shape(" or ".join(words), f'(?:{listed})"?', is_advice=is_advice, is_quoted=False)


def list_of(*words: str) -> Shape:
    """Return the shape of an enumerated string list."""
    word = f"(?:{'|'.join(map(re.escape, words))})"
    return shape(f"a list of {' or '.join(words)}", f"{word}(?:,{word})*", is_quoted=True)


def moment(text: str) -> datetime | None:
    """Return a date and time (4.4.4.6), in UTC if it has no time zone; None if it is invalid."""
    plain = text.replace(",", ".").replace("T24:00", "T00:00")
    before = LEAP_SECOND.sub("59", plain)
    try:
        read = datetime.fromisoformat(before)
    except ValueError:
        return None
    read = read if read.tzinfo is not None else read.replace(tzinfo=UTC)
    in_utc = read.astimezone(UTC) if before != plain else read
    return read if before == plain or (in_utc.hour, in_utc.minute) == LAST_MINUTE else None


LEAP_SECOND = re.compile(r"(?:(?<=:[0-9]{2}:)|(?<=T[0-9]{4}))60", re.ASCII)
LAST_MINUTE = (23, 59)  # of a day in UTC: the only minute that may have a leap second
ANY = shape("any text", r"(?s:.*)")
SOME = shape("a text that is not empty", r"(?s:.+)", is_quoted=True)
WORD = shape("a word in capitals", r"[A-Z0-9-]+", is_quoted=False)
INTEGER = shape("a whole number", r"[0-9]{1,20}", is_quoted=False)
POSITIVE = shape("a whole number above 0", r"(?=.{1,20}\Z)0*[1-9][0-9]*", is_quoted=False)
DECIMAL = shape("a number, not negative", r"[0-9]{1,20}(?:\.[0-9]*)?", is_quoted=False)
SIGNED = shape("a number", r"-?[0-9]{1,20}(?:\.[0-9]*)?", is_quoted=False)
YES = one_of("YES")
YES_NO = one_of("YES", "NO")
IV = shape("0x and 32 hexadecimal digits (128 bit)", r"0[xX][0-9A-Fa-f]{32}")
RANGE = shape("LENGTH or LENGTH@OFFSET", r"[0-9]{1,20}(?:@[0-9]{1,20})?")
RANGE_AT = shape("LENGTH@OFFSET", r"[0-9]{1,20}@[0-9]{1,20}")
DATE = shape(
    "a date and time such as 2026-11-20T18:00:00.000Z (ISO 8601)",
    r"[0-9]{4}-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12][0-9]|3[01])"
    r"T(?:[01][0-9]|2[0-4]):?[0-5][0-9](?::?(?:[0-5][0-9]|60)(?:[.,][0-9]+)?)?"
    r"(?:Z|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)?",
)
RESOLUTION = shape("WIDTHxHEIGHT", r"[0-9]{1,9}x[0-9]{1,9}", is_advice=True)
FRAME_RATE = shape("a number of frames per second", r"[0-9]{1,9}(?:\.[0-9]+)?", is_advice=True)
CODECS = shape(
    "a list of formats such as avc1.4d401f,mp4a.40.2 (RFC 6381)",
    r" *[A-Za-z0-9]{2,4}(?:[.+-][A-Za-z0-9.+-]*)? *"
    r"(?:, *[A-Za-z0-9]{2,4}(?:[.+-][A-Za-z0-9.+-]*)? *)*",
    is_advice=True,
)
CPC = shape(
    "one or more KEYFORMAT:LABEL/LABEL, separated by commas",
    r"[^:,]+:[A-Z0-9/-]*(?:,[^:,]+:[A-Z0-9/-]*)*",
)
ENTRY = r"[A-Za-z0-9][A-Za-z0-9.+-]*(?:/[A-Za-z0-9]{1,8})+"
SUPPLEMENTAL = shape(
    "a list of formats with brands, such as dvh1.08.07/db4h",
    f"{ENTRY}(?: *, *{ENTRY})*",
    is_quoted=True,
)
CHANNEL_PART = "(?:-|[A-Z0-9-]+(?:,[A-Z0-9-]+)*)"
CHANNELS = shape(
    "a number of channels, and parameters such as in 16/JOC or 2/-/BINAURAL",
    f"[0-9]{{1,3}}(?:/{CHANNEL_PART}){{0,2}}",
    is_quoted=True,
)
VIEW = "(?:CH|PROJ)-[A-Z0-9]+"
LAYOUT = shape(
    "a list of views such as CH-STEREO/PROJ-RECT",
    f"{VIEW}(?:/{VIEW})*(?:,{VIEW}(?:/{VIEW})*)*",
    is_quoted=True,
)
HEX = shape("0x and hexadecimal digits", r"0[xX][0-9A-Fa-f]+", is_quoted=False)
CUE = shape("PRE, POST or ONCE", r"(?:PRE|POST|ONCE)(?:,(?:PRE|POST|ONCE))*")
PATHWAY = shape("letters, digits, ., - and _", r"[A-Za-z0-9._-]+", is_quoted=True)
STABLE = shape("letters, digits and +/=.-_", r"[A-Za-z0-9+/=._-]+", is_quoted=True)
VARIABLE = shape("letters, digits, - and _", r"[A-Za-z0-9_-]+")
CAPTIONS = shape(
    "CC1 to CC4 or SERVICE1 to SERVICE63", r"CC[1-4]|SERVICE(?:[1-9]|[1-5][0-9]|6[0-3])"
)
