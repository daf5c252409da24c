"""The merged sources before validation: values as they came, of any type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr, TypeAdapter, ValidationError

from proxy.settings.section import Section


def value_of(raw: Mapping[str, Any], table: str, name: str, section: type[Section]) -> Any:
    """Return what is given for a setting, or its default."""
    values = raw.get(table)
    given = values.get(name) if isinstance(values, dict) else None
    return section.model_fields[name].default if given is None else given


def text_of(value: Any) -> str:
    """Return a value as a text, a secret's too."""
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def tables_of(value: Any) -> list[dict[str, Any]]:
    """Return the tables of a list of them."""
    return [it for it in value if isinstance(it, dict)] if isinstance(value, list) else []


def is_sandbox(raw: Mapping[str, Any]) -> bool:
    """Say whether the sandbox is on."""
    try:
        return TypeAdapter(bool).validate_python(raw.get("sandbox", False))
    except ValidationError:
        return False
