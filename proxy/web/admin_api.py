"""What the operator key allows: tokens, made and taken back."""

from collections.abc import Mapping
from hmac import compare_digest
from math import isfinite
from typing import Annotated, Any, Self, TypeVar

from aiohttp import web
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from proxy.domain.client_ip import Network, parse_network
from proxy.domain.formats import FORMAT_NAMES
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.revocations import REVOCATION_KINDS, Revocation, RevocationKind, ValidityLimit
from proxy.domain.tokens.claims import MAX_TIMESTAMP, VISIBLE_TEXT
from proxy.domain.tokens.compact import DECODER
from proxy.domain.validation_messages import format_message
from proxy.domain.variant_limits import VariantLimits
from proxy.domain.video import SAFE_ID, parse_named_video
from proxy.edge.token_minter import TokenMinter
from proxy.web.request_context import CONTEXT
from proxy.web.request_parsing import read_bearer_tokens, read_body
from proxy.web.services import SERVICES


def read_network(value: object) -> Network:
    """Return the network to bind a token to; the form of a validator."""
    try:
        return parse_network(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError("must be an address or a network") from None


NETWORK_SCHEMA = WithJsonSchema({"type": "string", "description": "an address or a network"})
STRICT_MODEL = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)
Size = Annotated[int, Field(gt=0, le=MAX_TIMESTAMP)]
Time = Annotated[int, Field(ge=0)]
FORMAT_SCHEMA = {"type": "string", "enum": list(FORMAT_NAMES)}
VIDEO_SCHEMA = {"pattern": rf"^({SAFE_ID.pattern}|\*)$"}
VISIBLE_TEXT_SCHEMA = {
    "anyOf": [{"type": "string", "pattern": f"^{VISIBLE_TEXT.pattern}$"}, {"type": "null"}]
}
Name = Annotated[str, Field(pattern=rf"^{VISIBLE_TEXT.pattern}$")]
Body = TypeVar("Body", bound=BaseModel)


class TokenRequest(BaseModel):
    """The body of POST /tokens."""

    model_config = STRICT_MODEL

    video: Annotated[str, Field(description="its id, or * for all", json_schema_extra=VIDEO_SCHEMA)]
    ttl: Annotated[
        Size | None,
        Field(description="seconds; tokens.default_ttl without it, tokens.max_ttl at most"),
    ] = None
    ip: Annotated[Network, PlainValidator(read_network), NETWORK_SCHEMA] | None = None
    sub: Annotated[
        str | None,
        Field(description="whose it is: visible ASCII", json_schema_extra=VISIBLE_TEXT_SCHEMA),
    ] = None
    fmt: Annotated[
        list[str],
        Field(description="all formats without it", json_schema_extra={"items": FORMAT_SCHEMA}),
    ] = []
    max_height: Annotated[Size | None, Field(description="pixels; relayed then")] = None
    max_bandwidth: Annotated[Size | None, Field(description="bits per second; relayed then")] = None


async def mint_token(request: web.Request) -> web.Response:
    """Mint a token for a back end that would rather not hold a key."""
    services = request[SERVICES]
    check_operator_key(request)
    wanted = parse_body(TokenRequest, await read_body(request))
    minted = TokenMinter(services.settings, services.telemetry.clock).mint(
        video=wanted.video,
        ttl=wanted.ttl,
        network=wanted.ip,
        subject=wanted.sub,
        formats=wanted.fmt,
        limits=VariantLimits(max_height=wanted.max_height, max_bandwidth=wanted.max_bandwidth),
    )
    body = {
        "token": minted.token,
        "jti": minted.jti,
        "expires_at": minted.expires_at,
        "url": minted.url,
    }
    return web.json_response(body, status=201)


class RevocationRequest(BaseModel):
    """The body of POST /revocations: exactly one of jti, sub and video."""

    model_config = STRICT_MODEL

    jti: Name | None = None
    sub: Name | None = None
    video: str | None = None
    issuer: Annotated[
        Name | None,
        Field(description="whose jti or sub it is; without it, of tokens signed with our own keys"),
    ] = None
    before: Annotated[
        Time | None,
        Field(description="seconds since 1970; now without it; not beside a jti"),
    ] = None
    undo: Annotated[bool, Field(description="undo the revocation of this name")] = False

    @model_validator(mode="after")
    def _check_exactly_one(self) -> Self:
        if len(self.get_name()) != 1:
            raise ValueError("must name exactly one of jti, sub and video")
        if self.jti is not None and self.before is not None:
            raise ValueError("must not have before beside jti, which names one token")
        if self.video is not None and self.issuer is not None:
            raise ValueError("must not have issuer beside video, which means every issuer's tokens")
        if self.undo and self.before is not None:
            raise ValueError("must not have before beside undo")
        return self

    def get_name(self) -> list[tuple[RevocationKind, str]]:
        """Return what is named, of which kind."""
        given = {kind: getattr(self, kind) for kind in REVOCATION_KINDS}
        return [(kind, value) for kind, value in given.items() if value is not None]


async def revoke(request: web.Request) -> web.Response:
    """Revoke tokens on every instance, or undo that."""
    services = request[SERVICES]
    check_operator_key(request)
    wanted = parse_body(RevocationRequest, await read_body(request))
    kind, value = wanted.get_name()[0]
    if kind == "video":
        request[CONTEXT].video = parse_named_video(value, services.settings.platform.video_ids)
    if wanted.undo:
        await services.revocations.undo(kind, value, issuer=wanted.issuer)
        return web.json_response({kind: value, "issuer": wanted.issuer, "undone": True})
    revocation = await services.revocations.revoke(
        kind, value, issuer=wanted.issuer, before=wanted.before
    )
    return web.json_response(
        format_revocation(revocation, services.revocations.longest), status=201
    )


async def list_revocations(request: web.Request) -> web.Response:
    """Tell which revocations are in force, and how fresh the list is."""
    services = request[SERVICES]
    check_operator_key(request)
    age = services.revocations.age
    return web.json_response(
        {
            "revocations": [
                format_revocation(it, services.revocations.longest)
                for it in services.revocations.list_in_force()
            ],
            "age": round(age, 3) if isfinite(age) else None,
        }
    )


def format_revocation(revocation: Revocation, limit: ValidityLimit) -> dict[str, str | int | None]:
    """Return a revocation as the operator sees it."""
    return {
        revocation.kind: revocation.value,
        "issuer": revocation.issuer,
        "before": None if revocation.kind == "jti" else revocation.before,
        "until": revocation.compute_end(limit),
    }


def check_operator_key(request: web.Request) -> None:
    """Refuse a caller without the operator key; without a key configured, everybody."""
    key = request[SERVICES].settings.operator.key.get_secret_value()
    given = list(read_bearer_tokens(request))
    is_known = key and len(given) == 1
    if not is_known or not compare_digest(given[0].encode(errors="replace"), key.encode()):
        raise Refusal(Reason.OPERATOR_KEY)


def parse_body(form: type[Body], body: bytes) -> Body:
    """Read the body, or refuse with every member that is wrong.

    A member that is there twice is refused: two readers may take a different one of them.
    """
    try:
        members = DECODER.decode(body.decode())
    except (ValueError, RecursionError):
        message = "The request body is not valid: it must be JSON, in UTF-8, no member twice."
        raise Refusal(Reason.REQUEST_INVALID, message=message) from None
    try:
        return form.model_validate(members)
    except ValidationError as error:
        lines = error.errors(include_input=False, include_url=False)
        wrong = "; ".join(
            f"{'.'.join(map(str, line['loc'])) or 'the body'} "
            f"{describe_error(line['type'], line['msg'], line.get('ctx', {}))}"
            for line in lines
        )
        message = f"The request body is not valid: {wrong}."
        raise Refusal(Reason.REQUEST_INVALID, message=message) from None


def describe_error(kind: str, message: str, context: Mapping[str, Any]) -> str:
    """Return what is wrong with a member, in the words of JSON."""
    if kind in {"model_type", "dict_type"}:
        return "must be a JSON object"
    return format_message(kind, message, context)
