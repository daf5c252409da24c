"""Parameters and bodies as JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import hdrs

from proxy.domain.formats import DEFAULT_QUALITY, FORMATS, QUALITIES
from proxy.domain.original_uri import FORWARD_AUTH, METHODS, NGINX
from proxy.domain.reasons import Reason
from proxy.domain.video import SAFE

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
MOMENT: Schema = {"type": "integer", "minimum": 0, "description": "seconds since 1970"}
OBJECT: Schema = {"type": "object"}
REASON: Schema = {"type": "string", "enum": [str(it) for it in Reason]}


def optional(schema: Schema) -> Schema:
    """Return the schema of what may be null."""
    return {"anyOf": [schema, {"type": "null"}]}


def record(members: Schema, *, may_lack: tuple[str, ...] = ()) -> Schema:
    """Return the schema of an object with just these members."""
    return {
        "type": "object",
        "properties": members,
        "required": [name for name in members if name not in may_lack],
        "additionalProperties": False,
    }


def listed(schema: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": schema}


def mapped(schema: Schema) -> Schema:
    """Return the schema of an object whose members' names are not known beforehand."""
    return {"type": "object", "additionalProperties": schema}


def parameter(
    where: str, name: str, schema: Schema, text: str = "", *, is_required: bool = False
) -> Schema:
    """Return a parameter."""
    said = {"description": text} if text else {}
    return {"in": where, "name": name, "required": is_required, "schema": schema, **said}


FLAG: Schema = {"type": "string", "enum": ["0", "1"], "default": "0"}
# The widest: which ids an edge knows is its `platform.video_id_pattern`, any other is not found.
VIDEO: Schema = {"type": "string", "pattern": f"^{SAFE.pattern}$"}
VIDEO_ID = parameter("path", "video_id", VIDEO, is_required=True)
SEALED_PATH = parameter("path", "path", TEXT, "with slashes", is_required=True)
IN_PATH: Mapping[str, Schema] = {  # by the route's name
    "play": VIDEO_ID,
    "play-file": VIDEO_ID,
    "watch": VIDEO_ID,
    "details": VIDEO_ID,
    "relayed-playlist": SEALED_PATH,
    "relayed-bytes": SEALED_PATH,
    "asset": parameter("path", "name", TEXT, is_required=True),
}
QUERIED_VIDEO_ID = parameter("query", "video_id", VIDEO, is_required=True)
PROBE_TOKEN = parameter("query", "token", TEXT, "signed with a key of operator.key")
CHOICE = (
    parameter(
        "query",
        "quality",
        {"type": "string", "enum": list(QUALITIES), "default": DEFAULT_QUALITY},
        "the best there is at or under it",
    ),
    parameter("query", "exact", FLAG, "just this quality"),
    parameter("query", "download", FLAG, "for a browser to save"),
)
FIELDS: Schema = {
    **parameter(
        "query",
        "formats",
        {**listed({"type": "string", "enum": list(FORMATS)}), "minItems": 1},
        is_required=True,
    ),
    "style": "form",
    "explode": False,  # one value, with commas
}


def asked_with(*names: str, text: str) -> tuple[Schema, ...]:
    """Return the headers of a question; those that name a method say of which kind it may be."""
    methods: Schema = {"type": "string", "enum": sorted(METHODS)}
    return tuple(
        parameter("header", name, methods if name.endswith("Method") else TEXT, text)
        for name in names
    )


ASKED_BY_NGINX = asked_with(*NGINX, text="of the original request; needed")
ASKED_BY_OTHERS = asked_with(*FORWARD_AUTH, text="of the original request; needed")

PROBLEM = record(
    {
        "title": TEXT,
        "status": {"type": "integer"},
        "detail": {**TEXT, "description": "the cause and the next step"},
        "reason": REASON,
        "request_id": {**TEXT, "description": "to quote to the operator"},
    }
)
STREAM_URLS = {
    "type": "object",
    "properties": dict.fromkeys(FORMATS, optional(TEXT)),
    "additionalProperties": False,
}
DETAILS = record({"title": TEXT, "poster": optional(TEXT), "live": {"type": "boolean"}})
PROBE = record(
    {
        "viewer": optional(TEXT),
        "peer": TEXT,
        "peer_is_trusted": {"type": "boolean"},
        "header": TEXT,
        "forwarded": listed(TEXT),
        "host": TEXT,
    }
)
ALIVE = record({"status": {"const": "alive"}})
TROUBLE = record({"reason": REASON, "message": TEXT, "detail": TEXT, "since": TEXT})
AGE = optional({"type": "number", "description": "seconds"})
READINESS = record(
    {
        "status": {"enum": ["ready", str(Reason.STARTING), str(Reason.DRAINING)]},
        "access_token": {"type": "boolean"},
        "platform": mapped(TROUBLE),
        "state": optional(TROUBLE),
        "revocations_age": AGE,
        "issuers": mapped(record({"keys": COUNT, "age": AGE, "trouble": optional(TEXT)})),
        "settings": record(
            {
                "digest": TEXT,
                "since": TEXT,
                "problems": listed(TEXT),
                "need_restart": listed(TEXT),
            }
        ),
    }
)
MINTED = record(
    {
        "token": TEXT,
        "jti": TEXT,
        "expires_at": MOMENT,
        "url": optional({**TEXT, "description": "null without web.public_url, and for *"}),
    }
)
REVOCATION = record(
    {
        "jti": TEXT,
        "sub": TEXT,
        "video": TEXT,
        "issuer": optional(TEXT),
        "before": optional(MOMENT),
        "until": MOMENT,
    },
    may_lack=("jti", "sub", "video"),  # one of them is there
)
UNDONE = record(
    {
        "jti": TEXT,
        "sub": TEXT,
        "video": TEXT,
        "issuer": optional(TEXT),
        "undone": {"const": True},
    },
    may_lack=("jti", "sub", "video"),  # one of them is there
)
REVOCATIONS = record({"revocations": listed(REVOCATION), "age": AGE})

# By the names that generated code has.
NAMED: Mapping[str, Schema] = {
    "Problem": PROBLEM,
    "StreamUrls": STREAM_URLS,
    "Details": DETAILS,
    "Probe": PROBE,
    "Alive": ALIVE,
    "Readiness": READINESS,
    "Token": MINTED,
    "Revocation": REVOCATION,
    "UndoneRevocation": UNDONE,
    "Revocations": REVOCATIONS,
}


def reference(name: str) -> Schema:
    """Return the reference to a schema by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


# What an answer may have, with the name of its header.
HEADERS: Mapping[str, str] = {
    hdrs.LOCATION: "where to go on",
    hdrs.RETRY_AFTER: "seconds until it is worth to ask again",
    hdrs.WWW_AUTHENTICATE: "Bearer",
    "X-Deny-Reason": "the reason, as in the body",
    "X-Request-Id": "to quote to the operator",
    "X-Playgate-Video": "the video; a private one as a digest",
    "X-Playgate-Subject": "the token's sub",
    "X-Playgate-Issuer": "whose key signed the token; not there for our own keys",
    "X-Playgate-Upstream": "where the bytes of a relayed playback are, for nginx alone",
    hdrs.SET_COOKIE: "the token, for the other files in the video's folder",
    hdrs.CONTENT_RANGE: "as it comes from Dailymotion",
}
