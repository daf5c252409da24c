"""The OpenAPI documents of both ports describe every route, and the edge conforms to them."""

import asyncio
import json
import re
import sys
from pathlib import Path

import pytest
from openapi_contract import DOCUMENTS, TABLES, resolve
from support import OPERATOR_KEY

from proxy.domain.reasons import Reason
from proxy.web.admin_api import RevocationRequest, TokenRequest
from proxy.web.openapi import PATH_PATTERN

CONFIG = Path(__file__).with_name("schemathesis.toml")
NOT_IN_OPERATIONS = {
    Reason.METHOD_NOT_ALLOWED,  # only for methods that are not in the document
    Reason.STARTING,  # only in the body of /readyz, which has its own schema
    Reason.DRAINING,
}


@pytest.mark.parametrize("port", ["player", "operator"])
def test_every_route_is_in_the_document(port):
    described = DOCUMENTS[port]["paths"]
    methods = {
        PATH_PATTERN.sub(r"{\1}", route.path): {
            "get" if method == "*" else method.lower() for method in route.handlers
        }
        for route in TABLES[port]
    }
    assert {path: set(item) - {"parameters"} for path, item in described.items()} == methods


def test_every_reason_is_listed_by_an_operation():
    listed = {
        reason
        for port, document in DOCUMENTS.items()
        for item in document["paths"].values()
        for method, operation in item.items()
        if method not in {"parameters", "head"}
        for response in operation["responses"].values()
        for resolved in [resolve(port, response)]
        if "X-Deny-Reason" in resolved.get("headers", {})
        for reason in re.findall(r"[a-z-]+", resolved["description"])
        if reason in set(Reason)
    }
    assert listed == {*Reason} - NOT_IN_OPERATIONS
    assert DOCUMENTS["player"]["components"]["schemas"]["Problem"]["properties"]["reason"][
        "enum"
    ] == [*Reason]


@pytest.mark.parametrize("port", ["player", "operator"])
def test_every_component_is_used(port):
    text = json.dumps(DOCUMENTS[port])
    for kind, parts in DOCUMENTS[port]["components"].items():
        for name in parts:
            uses = f'"{name}": []' if kind == "securitySchemes" else f'"#/components/{kind}/{name}"'
            assert uses in text, f"{kind}/{name}"


@pytest.mark.parametrize("model", [TokenRequest, RevocationRequest])
def test_the_request_body_schemas_match_the_models(model):
    schema = DOCUMENTS["operator"]["components"]["schemas"][model.__name__]
    assert schema == json.loads(json.dumps(model.model_json_schema()))


async def test_each_port_serves_its_own_document(edge):
    player = (await edge.get(f"{edge.player}/openapi.json")).json
    operator = (await edge.get(f"{edge.operator}/openapi.json")).json

    assert list(player["paths"]["/play/{video_id}.m3u8"]) == [
        "get",
        "head",
        "options",
        "parameters",
    ]
    assert "404" in player["paths"]["/stream-urls"]["get"]["responses"]
    assert "429" in player["paths"]["/stream-urls"]["get"]["responses"]
    assert set(operator["paths"]["/auth"]["get"]["responses"]) == {"204", "400", "401", "403"}
    assert "ip" in operator["components"]["schemas"]["TokenRequest"]["properties"]


async def test_the_player_page_is_in_the_document_only_if_it_is_served(start_edge):
    edge = await start_edge(web={"player_page": False})
    document = (await edge.get(f"{edge.player}/openapi.json")).json

    assert not [path for path in document["paths"] if path.startswith("/watch")]


# Port, credentials, and successful requests that each run must include.
RUNS = [
    ("player", "nothing", ["200 GET asset"]),
    (
        *("player", "a token"),
        ["302 GET play", "302 HEAD play-file", "200 GET stream-urls", "200 GET details"],
    ),
    ("operator", "nothing", ["200 GET readyz"]),
    ("operator", "a token", ["204 GET auth", "204 GET forward-auth"]),
    ("operator", "the operator key", ["201 POST tokens", "201 POST revocations"]),
]


@pytest.mark.parametrize(("port", "credentials", "successes"), RUNS)
async def test_the_edge_conforms_to_the_document(
    start_edge, tmp_path, port, credentials, successes
):
    edge = await start_edge(
        viewer={"trusted_proxies": ["127.0.0.1"]},
        platform={"video_id_pattern": "[A-Za-z0-9_-]{1,64}"},
    )
    bearers = {"a token": edge.mint("*"), "the operator key": OPERATOR_KEY}
    header = f"Authorization: Bearer {bearers.get(credentials)}"
    run = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).with_name("schemathesis"), "--config-file", CONFIG, "run"),
        *(f"{getattr(edge, port)}/openapi.json", "--seed", "1", "--max-examples", "30"),
        *("--header", "X-Forwarded-For: 8.8.4.4"),
        *(["--header", header] if credentials in bearers else []),
        cwd=tmp_path,  # schemathesis writes its reports here
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await run.communicate())[0].decode()

    assert run.returncode == 0, output
    assert not edge.lines("internal")
    outcomes = await edge.metric("playgate_http_requests_total")
    for success in successes:
        code, method, route = success.split()
        assert f'code="{code}",method="{method}",route="{route}"' in outcomes
