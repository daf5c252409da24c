"""The OpenAPI documents of both ports, written by hand in the JSON files in this folder."""

import json
import re
from collections.abc import Iterable
from importlib.resources import files
from typing import Literal

from aiohttp import web

PortName = Literal["player", "operator"]

DOCUMENT: web.AppKey[bytes] = web.AppKey("openapi", bytes)
PATH_PATTERN = re.compile(r"\{(\w+):[^}]*\}")


def read_document(port: PortName, paths: Iterable[str]) -> bytes:
    """Read the OpenAPI document of a port, as JSON, and keep only the paths that are served.

    Args:
        port: the port that the document describes.
        paths: the aiohttp path patterns of the routes that the port serves.
    """
    document = json.loads((files(__name__) / f"{port}.json").read_bytes())
    served = {PATH_PATTERN.sub(r"{\1}", path) for path in paths}
    document["paths"] = {
        path: path_item for path, path_item in document["paths"].items() if path in served
    }
    return json.dumps(document).encode()


async def serve_openapi(request: web.Request) -> web.Response:
    """Serve the OpenAPI document of the port."""
    return web.Response(body=request.app[DOCUMENT], content_type="application/json")
