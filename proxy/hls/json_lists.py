"""Content steering manifests and asset lists: the JSON that players fetch beside playlists.

RFC 8216bis, 7.2 (steering) and D.2 (asset lists of interstitials).
"""

import json
import re
from collections.abc import Callable
from math import inf
from typing import Any

PATHWAY = re.compile(r"[A-Za-z0-9._-]{1,200}", re.ASCII)
MAX_ASSETS = 500
MAX_TTL_SECONDS = 86_400


class JsonListInvalidError(ValueError):
    """A text is no steering manifest or no asset list."""


def strip_steering(body: bytes, seal: Callable[[str], str | None] | None = None) -> bytes:
    """Return a steering manifest with the members that are safe, and its RELOAD-URI sealed.

    PATHWAY-CLONES are left out: players would build URLs of other hosts from sealed paths.

    Args:
        body: as received.
        seal: returns the relay URL of a RELOAD-URI, or None if its host is not allowed; without
            it, RELOAD-URI is left out.

    Raises:
        JsonListInvalidError: the body is no steering manifest.
    """
    received = _read_object(body)
    priority = received.get("PATHWAY-PRIORITY")
    if received.get("VERSION") != 1 or not isinstance(priority, list):
        raise JsonListInvalidError
    pathways = [name for name in priority if isinstance(name, str) and PATHWAY.fullmatch(name)]
    written: dict[str, object] = {"VERSION": 1}
    if (ttl := _read_number(received.get("TTL"))) is not None:
        written["TTL"] = min(ttl, MAX_TTL_SECONDS)
    reload_uri = received.get("RELOAD-URI")
    if seal is not None and isinstance(reload_uri, str) and (uri := seal(reload_uri)) is not None:
        written["RELOAD-URI"] = uri
    written["PATHWAY-PRIORITY"] = pathways
    return json.dumps(written).encode()


def seal_asset_list(body: bytes, seal: Callable[[str], str | None]) -> bytes:
    """Return an asset list with its URIs sealed; assets that cannot be relayed are left out.

    Args:
        body: as received.
        seal: returns the relay URL of an asset, or None if its host is not allowed.

    Raises:
        JsonListInvalidError: the body is no asset list.
    """
    assets = _read_object(body).get("ASSETS")
    if not isinstance(assets, list):
        raise JsonListInvalidError
    written: list[dict[str, object]] = []
    for asset in assets[:MAX_ASSETS]:
        if not isinstance(asset, dict) or not isinstance(asset.get("URI"), str):
            continue
        duration, uri = _read_number(asset.get("DURATION")), seal(asset["URI"])
        if uri is not None:
            written.append({"URI": uri} | ({} if duration is None else {"DURATION": duration}))
    return json.dumps({"ASSETS": written}).encode()


def _read_object(body: bytes) -> dict[str, Any]:
    try:
        received = json.loads(body)
    except (ValueError, RecursionError):
        raise JsonListInvalidError from None
    if not isinstance(received, dict):
        raise JsonListInvalidError
    return received


def _read_number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value < inf else None
