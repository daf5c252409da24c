"""Operator API: mint tokens, revoke them and list revocations. Requires the operator key."""

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
    """Parse the network that a token is bound to. Used as a pydantic validator.

    Raises:
        ValueError: the value is not an address or a network.
    """
    try:
        return parse_network(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError("must be an address or a network") from None


NETWORK_SCHEMA = WithJsonSchema({"type": "string", "description": "An IP address or a network"})
STRICT_MODEL = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)
PositiveInt = Annotated[int, Field(gt=0, le=MAX_TIMESTAMP)]
Timestamp = Annotated[int, Field(ge=0)]
FORMAT_SCHEMA = {"type": "string", "enum": list(FORMAT_NAMES)}
VIDEO_SCHEMA = {"pattern": rf"^({SAFE_ID.pattern}|\*)$"}
VISIBLE_TEXT_SCHEMA = {
    "anyOf": [{"type": "string", "pattern": f"^{VISIBLE_TEXT.pattern}$"}, {"type": "null"}]
}
VisibleText = Annotated[str, Field(pattern=rf"^{VISIBLE_TEXT.pattern}$")]
Body = TypeVar("Body", bound=BaseModel)


class TokenRequest(BaseModel):
    """The body of POST /tokens."""

    model_config = STRICT_MODEL

    video: Annotated[
        str, Field(description="Video ID, or * for all videos", json_schema_extra=VIDEO_SCHEMA)
    ]
    ttl: Annotated[
        PositiveInt | None,
        Field(description="Seconds, at most tokens.max_ttl; default: tokens.default_ttl"),
    ] = None
    ip: Annotated[Network, PlainValidator(read_network), NETWORK_SCHEMA] | None = None
    sub: Annotated[
        str | None,
        Field(
            description="The viewer that the token is for, in visible ASCII characters",
            json_schema_extra=VISIBLE_TEXT_SCHEMA,
        ),
    ] = None
    fmt: Annotated[
        list[str],
        Field(
            description="Allowed formats; default: all formats",
            json_schema_extra={"items": FORMAT_SCHEMA},
        ),
    ] = []
    max_height: Annotated[PositiveInt | None, Field(description="Pixels; requires relaying")] = None
    max_bandwidth: Annotated[
        PositiveInt | None,
        Field(description="Bits per second; requires relaying"),
    ] = None


async def mint_token(request: web.Request) -> web.Response:
    """Mint a token, for a back end that holds no signing key."""
    services = request[SERVICES]
    check_operator_key(request)
    options = parse_body(TokenRequest, await read_body(request))
    minted = TokenMinter(services.settings, services.telemetry.clock).mint(
        video=options.video,
        ttl=options.ttl,
        network=options.ip,
        subject=options.sub,
        formats=options.fmt,
        limits=VariantLimits(max_height=options.max_height, max_bandwidth=options.max_bandwidth),
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

    jti: VisibleText | None = None
    sub: VisibleText | None = None
    video: str | None = None
    issuer: Annotated[
        VisibleText | None,
        Field(
            description="Issuer of the tokens; default: tokens signed with your own keys, in "
            "tokens.keys or tokens.jwks_file; not allowed with video"
        ),
    ] = None
    before: Annotated[
        Timestamp | None,
        Field(
            description="Revoke tokens issued at or before this time, in seconds since 1970; "
            "default: now; not allowed with jti"
        ),
    ] = None
    undo: Annotated[bool, Field(description="Undo this revocation")] = False

    @model_validator(mode="after")
    def _check_exactly_one(self) -> Self:
        if len(self.get_name()) != 1:
            raise ValueError("must name exactly one of jti, sub and video")
        if self.jti is not None and self.before is not None:
            raise ValueError('must not contain both "before" and "jti": a jti names one token')
        if self.video is not None and self.issuer is not None:
            raise ValueError(
                'must not contain both "issuer" and "video": a video is revoked for all issuers'
            )
        if self.undo and self.before is not None:
            raise ValueError('must not contain both "before" and "undo"')
        return self

    def get_name(self) -> list[tuple[RevocationKind, str]]:
        """Return the kind and the value of each of jti, sub and video that is set."""
        values = {kind: getattr(self, kind) for kind in REVOCATION_KINDS}
        return [(kind, value) for kind, value in values.items() if value is not None]


async def revoke(request: web.Request) -> web.Response:
    """Revoke tokens on every instance, or undo a revocation."""
    services = request[SERVICES]
    check_operator_key(request)
    options = parse_body(RevocationRequest, await read_body(request))
    kind, value = options.get_name()[0]
    if kind == "video":
        request[CONTEXT].video = parse_named_video(value, services.settings.platform.video_ids)
    if options.undo:
        await services.revocations.undo(kind, value, issuer=options.issuer)
        return web.json_response({kind: value, "issuer": options.issuer, "undone": True})
    revocation = await services.revocations.revoke(
        kind, value, issuer=options.issuer, before=options.before
    )
    return web.json_response(
        format_revocation(revocation, services.revocations.longest), status=201
    )


async def list_revocations(request: web.Request) -> web.Response:
    """List the revocations in force, and the age of the list in seconds."""
    services = request[SERVICES]
    check_operator_key(request)
    age = services.revocations.age
    return web.json_response(
        {
            "revocations": [
                format_revocation(revocation, services.revocations.longest)
                for revocation in services.revocations.list_in_force()
            ],
            "age": round(age, 3) if isfinite(age) else None,
        }
    )


def format_revocation(revocation: Revocation, limit: ValidityLimit) -> dict[str, str | int | None]:
    """Return a revocation as the members of a JSON response."""
    return {
        revocation.kind: revocation.value,
        "issuer": revocation.issuer,
        "before": None if revocation.kind == "jti" else revocation.before,
        "until": revocation.compute_end(limit),
    }


def check_operator_key(request: web.Request) -> None:
    """Require the operator key as the only bearer token of a request.

    Raises:
        Refusal: the key is wrong or missing, or `operator.key` is not set.
    """
    key = request[SERVICES].settings.operator.key.get_secret_value()
    bearer_tokens = list(read_bearer_tokens(request))
    is_comparable = key and len(bearer_tokens) == 1
    if not is_comparable or not compare_digest(
        bearer_tokens[0].encode(errors="replace"), key.encode()
    ):
        raise Refusal(Reason.OPERATOR_KEY)


def parse_body(form: type[Body], body: bytes) -> Body:
    """Parse and validate a JSON body. The refusal names every invalid member.

    A duplicate member is refused, because two parsers may read different values of the same body.

    Raises:
        Refusal: the body is not JSON in UTF-8, has a duplicate member or does not fit `form`.
    """
    try:
        members = DECODER.decode(body.decode())
    except (ValueError, RecursionError):
        message = "The request body is not valid: it must be UTF-8 JSON without duplicate members."
        raise Refusal(Reason.REQUEST_INVALID, message=message) from None
    try:
        return form.model_validate(members)
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
        problems = "; ".join(
            f"{'.'.join(map(str, detail['loc'])) or 'the body'} "
            f"{describe_error(detail['type'], detail['msg'], detail.get('ctx', {}))}"
            for detail in details
        )
        message = f"The request body is not valid: {problems}."
        raise Refusal(Reason.REQUEST_INVALID, message=message) from None


def describe_error(kind: str, message: str, context: Mapping[str, Any]) -> str:
    """Describe a validation error of a member, in JSON terms."""
    if kind in {"model_type", "dict_type"}:
        return "must be a JSON object"
    return format_message(kind, message, context)
