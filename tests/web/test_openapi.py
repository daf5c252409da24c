"""The descriptions of both ports: what they say is so, whatever is sent."""

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
ELSEWHERE = {
    Reason.METHOD_NOT_ALLOWED,  # of every other method
    Reason.STARTING,  # what /readyz says, with a body of its own
    Reason.DRAINING,
}


@pytest.mark.parametrize("port", ["player", "operator"])
def test_every_route_is_described(port):
    described = DOCUMENTS[port]["paths"]
    methods = {
        PATH_PATTERN.sub(r"{\1}", route.path): {
            "get" if it == "*" else it.lower() for it in route.handlers
        }
        for route in TABLES[port]
    }
    assert {path: set(item) - {"parameters"} for path, item in described.items()} == methods


def test_every_reason_is_some_operations():
    listed = {
        reason
        for port, document in DOCUMENTS.items()
        for item in document["paths"].values()
        for method, operation in item.items()
        if method not in {"parameters", "head"}
        for response in operation["responses"].values()
        for found in [resolve(port, response)]
        if "X-Deny-Reason" in found.get("headers", {})
        for reason in re.findall(r"[a-z-]+", found["description"])
        if reason in set(Reason)
    }
    assert listed == {*Reason} - ELSEWHERE
    assert DOCUMENTS["player"]["components"]["schemas"]["Problem"]["properties"]["reason"][
        "enum"
    ] == [*Reason]


@pytest.mark.parametrize("port", ["player", "operator"])
def test_every_part_is_used(port):
    text = json.dumps(DOCUMENTS[port])
    for kind, parts in DOCUMENTS[port]["components"].items():
        for name in parts:
            uses = f'"{name}": []' if kind == "securitySchemes" else f'"#/components/{kind}/{name}"'
            assert uses in text, f"{kind}/{name}"


@pytest.mark.parametrize("form", [TokenRequest, RevocationRequest])
def test_the_bodies_are_described_as_they_are_read(form):
    described = DOCUMENTS["operator"]["components"]["schemas"][form.__name__]
    assert described == json.loads(json.dumps(form.model_json_schema()))


async def test_each_port_describes_itself(edge):
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


async def test_the_page_is_described_where_it_is_served(start_edge):
    edge = await start_edge(web={"player_page": False})
    described = (await edge.get(f"{edge.player}/openapi.json")).json

    assert not [path for path in described["paths"] if path.startswith("/watch")]


# Who asks, with what, and which successes have to be among what comes of it.
ASKED = [
    ("player", "nothing", ["200 GET asset"]),
    (
        *("player", "a token"),
        ["302 GET play", "302 HEAD play-file", "200 GET stream-urls", "200 GET details"],
    ),
    ("operator", "nothing", ["200 GET readyz"]),
    ("operator", "a token", ["204 GET auth", "204 GET forward-auth"]),
    ("operator", "the operator key", ["201 POST tokens", "201 POST revocations"]),
]


@pytest.mark.parametrize(("port", "shown", "successes"), ASKED)
async def test_what_is_described_is_so(start_edge, tmp_path, port, shown, successes):
    edge = await start_edge(
        viewer={"trusted_proxies": ["127.0.0.1"]},
        platform={"video_id_pattern": "[A-Za-z0-9_-]{1,64}"},
    )
    credentials = {"a token": edge.mint("*"), "the operator key": OPERATOR_KEY}
    header = f"Authorization: Bearer {credentials.get(shown)}"
    run = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).with_name("schemathesis"), "--config-file", CONFIG, "run"),
        *(f"{getattr(edge, port)}/openapi.json", "--seed", "1", "--max-examples", "30"),
        *("--header", "X-Forwarded-For: 8.8.4.4"),
        *(["--header", header] if shown in credentials else []),
        cwd=tmp_path,  # where it leaves what it found
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await run.communicate())[0].decode()

    assert run.returncode == 0, said
    assert not edge.lines("internal")
    outcomes = await edge.metric("playgate_http_requests_total")
    for success in successes:
        code, method, route = success.split()
        assert f'code="{code}",method="{method}",route="{route}"' in outcomes
