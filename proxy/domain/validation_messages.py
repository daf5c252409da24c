"""Messages for validation errors, which replace the messages of the validation library.

Settings and request bodies share these messages, so the same mistake always reads the same.
"""

from collections.abc import Mapping
from typing import Any

# By the library's error type. The error's context supplies the placeholders.
MESSAGES: Mapping[str, str] = {
    "missing": "is missing",
    "extra_forbidden": "is not a known name",
    "model_type": "must be a table",
    "dict_type": "must be a table",
    "string_type": "must be a string",
    "string_sub_type": "must be a string",
    "string_unicode": "must be UTF-8 text",
    "path_type": "must be a path",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "too_short": "must not be empty",
    "too_long": "has too many entries",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "is too large",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "literal_error": "must be {expected}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "json_invalid": "is not valid JSON",
    "json_type": "is not valid JSON",
}
# Descriptions of the regular expressions that settings and request bodies use.
PATTERN_MESSAGES: Mapping[str, str] = {
    r"^[\x21-\x7e]{1,256}$": "must be 1 to 256 visible ASCII characters",
    r"^[A-Za-z0-9_.:-]{1,64}$": "must be 1 to 64 letters, digits or _ . : -",
    r"^[A-Za-z0-9_-]+$": "must be letters, digits, _ or -",
    r"^[A-Za-z0-9_-]*$": "must be letters, digits, _ or -",
    r"^[a-z0-9_]+$": "must be lower-case letters, digits or _",
}
PYDANTIC_PREFIX = "Value error, "  # Pydantic puts this before the message of a ValueError


def format_message(kind: str, message: str, context: Mapping[str, Any]) -> str:
    """Return the message for a validation error, to be appended to the name of the value.

    Args:
        kind: the library's error type.
        message: the library's message; used only if Playgate's own check raised the error.
        context: the values for the message's placeholders.
    """
    if kind == "value_error":
        return message.removeprefix(PYDANTIC_PREFIX)
    if kind == "string_pattern_mismatch":
        return PATTERN_MESSAGES.get(context["pattern"], "has an invalid format")
    return MESSAGES.get(kind, "is not valid").format_map(context)
