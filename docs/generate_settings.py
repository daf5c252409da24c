"""Write docs/settings.md from the settings schema and the texts in docs/settings.toml.

`make docs` runs this. A test fails if the page is stale, or if a setting has no text.
"""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePath
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from proxy.settings.schema import ENV_PREFIX, Settings
from proxy.settings.sources import find_model

FOLDER = Path(__file__).parent
WORDS = {bool: "boolean", int: "integer", float: "number", str: "text", SecretStr: "secret"}
TEXTS = tomllib.loads((FOLDER / "settings.toml").read_text())


def build_page() -> str:
    """Return the text of docs/settings.md."""
    sections = {"general": {"sandbox": Settings.model_fields["sandbox"]}}
    for name, field in Settings.model_fields.items():
        if (model := find_model(field)) is not None:
            sections[name] = model.model_fields
    lines = [TEXTS["introduction"]]
    for section, fields in sections.items():
        title = "General" if section == "general" else f"[{section}]"
        lines += [f"## {title}", "", TEXTS["sections"][section], ""]
        lines += format_head("name", "type", "default", "effect", "change it", "variable")
        for name, field in fields.items():
            text = TEXTS[section][name]
            variable = ENV_PREFIX + (name if section == "general" else f"{section}__{name}").upper()
            cells = (f"`{name}`", describe_type(field), format_default(field), text["does"])
            lines.append(format_row(*cells, text["change"], f"`{variable}`"))
        for name, field in fields.items():
            if (model := find_model(field)) is not None:
                lines += ["", f"Each `[[{section}.{name}]]`:", ""]
                lines += format_head("name", "type", "default", "effect")
                lines += format_list_rows(f"{section}.{name}", model)
        lines.append("")
    return "\n".join(lines)


def format_list_rows(name: str, model: type[BaseModel]) -> Iterator[str]:
    """Yield the rows of a list of tables."""
    for member, field in model.model_fields.items():
        text = TEXTS[f"{name}[]"][member]["does"]
        yield format_row(f"`{member}`", describe_type(field), format_default(field), text)


def format_head(*names: str) -> list[str]:
    """Return the first two lines of a table."""
    return [format_row(*names), "|" + "---|" * len(names)]


def format_row(*cells: str) -> str:
    """Return a table row; a pipe within a cell would end it."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def describe_type(field: FieldInfo) -> str:
    """Return the type of a setting in words, with its limits."""
    limits = []
    for limit in field.metadata:
        match limit:
            case Ge(ge=value):
                limits.append(f"at least {value}")
            case Gt(gt=value):
                limits.append(f"above {value}")
            case Le(le=value):
                limits.append(f"at most {value}")
    return ", ".join([describe_annotation(field.annotation), *limits])


def describe_annotation(annotation: Any) -> str:
    """Return a type in words."""
    kind, arguments = get_origin(annotation), get_args(annotation)
    if kind is Annotated:
        return describe_annotation(arguments[0])
    if kind is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if kind is tuple:
        return f"list of {describe_annotation(arguments[0])}"
    if arguments:  # a union
        kinds = [describe_annotation(member) for member in arguments if member is not NoneType]
        return " or ".join(kinds)
    if issubclass(annotation, BaseModel):
        return "tables"
    return "text" if issubclass(annotation, PurePath) else WORDS[annotation]


def format_default(field: FieldInfo) -> str:
    """Return the default of a setting as TOML has it."""
    if field.is_required():
        return "required"
    return format_value(field.get_default())


def format_value(value: Any) -> str:
    """Return a value as TOML has it."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    return "none" if value is None else f"`{json.dumps(value)}`"


if __name__ == "__main__":
    (FOLDER / "settings.md").write_text(build_page())
