"""The OpenAPI documents of both ports, served as they are written in the files beside this one."""

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
    """Return the document of a port, limited to the paths that are served."""
    document = json.loads((files(__name__) / f"{port}.json").read_bytes())
    served = {PATH_PATTERN.sub(r"{\1}", path) for path in paths}
    document["paths"] = {path: it for path, it in document["paths"].items() if path in served}
    return json.dumps(document).encode()


async def serve_openapi(request: web.Request) -> web.Response:
    """Serve the document of the port."""
    return web.Response(body=request.app[DOCUMENT], content_type="application/json")
