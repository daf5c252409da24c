"""`playgate revoke`, and what `token explain` and `doctor` show of revocations and the state."""

import json
import re
from time import time

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from processes import playgate, run_command
from support import SANDBOX_TOML, run_test_edge, serve_app, wait_until

from proxy.cli.doctor.command import collect_results

CONFIG = ("--config", SANDBOX_TOML)


async def revoke(*arguments: str, **env: str) -> tuple[int, str]:
    env.setdefault("STATE__TIMEOUT", "5")
    variables = {f"PLAYGATE_{name}": value for name, value in env.items()}
    return await run_command(*playgate("revoke", *CONFIG, *arguments), env=variables)


async def test_without_a_shared_state_the_edge_is_called(edge):
    token = edge.mint(subject="viewer-7")
    code, said = await revoke("--sub", "viewer-7", OPERATOR__LISTEN=str(edge.edge.operator))
    assert code == 0
    assert re.fullmatch(
        r"revoked: all tokens of viewer-7 issued until \S+ \S+ UTC\n"
        r"The tokens are refused: at once, by the edge at \S+\n"
        r"The revocation is deleted after \S+ \S+ UTC, when all these tokens have expired\.\n",
        said,
    )
    assert await edge.try_play(token=token) == "token-revoked"


async def test_with_a_shared_state_every_instance_revokes(sandbox, server):
    shared = {"url": server.url, "max_staleness": 0.5}
    async with (
        run_test_edge(sandbox, state=shared) as one,
        run_test_edge(sandbox, state=shared) as two,
    ):
        token = one.mint(subject="viewer-7")
        env = {"STATE__URL": server.url, "STATE__MAX_STALENESS": "0.5"}
        code, said = await revoke("--sub", "viewer-7", **env)
        assert (code, "within 0.5 s, by every instance" in said) == (0, True)
        for edge in (one, two):
            await wait_until(lambda edge=edge: is_refused(edge, token))

        code, said = await revoke("--video", "x8demo1", "--before", "2026-01-01T00:00:00Z", **env)
        assert (code, "Nothing to revoke" in said) == (1, True)
        code, said = await revoke("--jti", "one", **env)
        assert (code, said.startswith("revoked: the token one\n")) == (0, True)


async def test_a_revocation_can_be_undone(edge, sandbox, server):
    listen = {"OPERATOR__LISTEN": str(edge.edge.operator)}
    token = edge.mint(subject="viewer-7")
    await revoke("--sub", "viewer-7", **listen)
    assert await edge.try_play(token=token) == "token-revoked"
    code, said = await revoke("--sub", "viewer-7", "--undo", **listen)
    assert (code, said.startswith("revocation undone: all tokens of viewer-7\n")) == (0, True)
    assert await edge.try_play(token=token) == 302
    code, said = await revoke("--sub", "viewer-7", "--undo", **listen)
    assert (code, "No revocation of this sub is in force" in said) == (1, True)

    shared = {"url": server.url, "max_staleness": 0.5}
    env = {"STATE__URL": server.url, "STATE__MAX_STALENESS": "0.5"}
    async with run_test_edge(sandbox, state=shared) as one:
        token = one.mint(subject="viewer-7")
        await revoke("--sub", "viewer-7", **env)
        await wait_until(lambda: is_refused(one, token))
        code, said = await revoke("--sub", "viewer-7", "--undo", **env)
        assert (code, "within 0.5 s, by every instance" in said) == (0, True)
        await wait_until(lambda: is_good(one, token))


async def is_good(edge, token):
    return await edge.try_play(token=token) == 302


async def is_refused(edge, token):
    return await edge.try_play(token=token) == "token-revoked"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give exactly one of --jti, --sub and --video"),
        (["--jti", "a", "--sub", "b"], "give exactly one"),
        (["--sub", "two words"], "--sub: must be 1 to 256 visible ASCII characters"),
        (["--video", "no id"], "'no id' is not a video ID"),
        (["--jti", "a", "--before", "5"], "--before cannot be combined with --jti"),
        (["--sub", "a", "--undo", "--before", "5"], "--before cannot be combined with --undo"),
        (
            ["--video", "x8demo1", "--issuer", "a"],
            "--issuer: requires --jti or --sub",
        ),
        (["--sub", "a", "--issuer", "a b"], "--issuer: requires --jti or --sub"),
        (
            ["--sub", "a", "--before", "yesterday"],
            "--before: must be a time with a time zone, such as 2026-",
        ),
        (["--sub", "a", "--before", "2026-11-21T18:00:00"], "must be a time with a time zone"),
        (["--sub", "a"], "nothing was changed: no edge is running at 127.0.0.1:1."),
    ],
)
async def test_an_invalid_revocation_is_refused_with_an_explanation(arguments, says):
    code, said = await revoke(*arguments, OPERATOR__LISTEN="127.0.0.1:1")
    assert (code, says in said) == (1, True), said
    assert "Traceback" not in said


async def test_the_error_of_the_edge_is_shown(edge):
    listen = {"OPERATOR__LISTEN": str(edge.edge.operator)}
    code, said = await revoke("--sub", "a", OPERATOR__KEY="another-operator-key", **listen)
    assert (code, "The operator key is missing or wrong" in said) == (1, True)
    code, said = await revoke("--sub", "a", OPERATOR__KEY="", **listen)
    assert (code, "Set operator.key to revoke through the edge" in said) == (1, True)
    code, said = await revoke("--sub", "a", "--before", "99999999999", **listen)
    assert (code, 'The time "before" is in the future' in said) == (1, True)


async def test_an_unreachable_state_is_reported_without_its_password(server):
    await server.stop()
    url = server.url.replace("redis://", "redis://operator:hush-hush@")
    code, said = await revoke("--sub", "a", STATE__URL=url)
    assert (code, "nothing was changed: state-unavailable" in said) == (1, True)
    assert "hush" not in said


async def test_doctor_checks_the_shared_state(server, monkeypatch):
    for url, status, says in (
        (server.url, "ok", "a write and a read take "),
        (
            "redis://:hush-hush@127.0.0.1:1",
            "fail",
            "state-unavailable: the state server cannot be reached",
        ),
    ):
        monkeypatch.setenv("PLAYGATE_STATE__URL", url)
        monkeypatch.setenv("PLAYGATE_STATE__TIMEOUT", "5")
        found = await collect_results(SANDBOX_TOML, None, None, quiet=True)
        (line,) = [it for it in found if it.check == "state"]
        assert line.status == status
        assert line.text.startswith(says)
        assert "hush" not in json.dumps([it.text + it.next_step for it in found])


async def explain(token: str, *arguments: str, **env: str) -> tuple[int, str]:
    env.setdefault("STATE__TIMEOUT", "5")
    variables = {f"PLAYGATE_{name}": value for name, value in env.items()}
    command = playgate("token", "explain", *CONFIG, token, "--video", "x8demo1", *arguments)
    return await run_command(*command, env={**variables, "NO_COLOR": "1"})


async def test_explain_reports_a_revoked_token(edge, sandbox, server):
    """From the edge on this machine, or from the shared state."""
    revoked, kept = edge.mint(subject="viewer-7"), edge.mint(subject="viewer-8")
    listen = {"OPERATOR__LISTEN": str(edge.edge.operator)}
    await revoke("--sub", "viewer-7", **listen)
    code, said = await explain(revoked, **listen)
    assert (code, "token-revoked: a revocation of this sub" in said) == (1, True), said
    code, said = await explain(kept, **listen)
    assert (code, "ok   revoked" in said) == (0, True)

    url = {"STATE__URL": server.url}
    await revoke("--sub", "viewer-7", **url)
    code, said = await explain(revoked, **url)
    assert (code, "token-revoked: a revocation of this sub" in said) == (1, True)


async def test_explain_reports_a_token_that_was_first_used_elsewhere(sandbox, server):
    shared = {"url": server.url}
    async with run_test_edge(sandbox, state=shared, tokens={"bind_on_first_use": True}) as edge:
        token = edge.mint()
        assert (await edge.get(edge.play_url(token=token), source="127.0.0.5")).status == 302
        env = {"STATE__URL": server.url, "TOKENS__BIND_ON_FIRST_USE": "true"}
        code, said = await explain(token, "--ip", "127.0.1.5", **env)
        assert (code, "token-used-elsewhere" in said) == (1, True), said
        code, said = await explain(token, "--ip", "127.0.0.9", **env)
        assert (code, "ok   first use" in said) == (0, True), said
        unused = edge.mint()
        for viewer in ("127.0.1.5", "127.0.0.5"):
            code, said = await explain(unused, "--ip", viewer, **env)
            assert (code, "ok   first use" in said) == (0, True), "explain must not bind the token"
        assert (await edge.get(edge.play_url(token=unused), source="127.0.2.5")).status == 302


async def test_explain_fetches_the_keys_of_the_issuer_of_the_token(edge):
    key = generate_private_key(SECP256R1())
    published = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({"keys": [{**published, "kid": "one"}]})

    app = web.Application()
    app.router.add_get("/jwks.json", answer)
    now = int(time())
    claims = {"video": "x8demo1", "iat": now, "exp": now + 300, "iss": "https://login.example.com"}
    token = jwt.encode(claims, key, algorithm="ES256", headers={"kid": "one"})
    async with serve_app(app) as origin:
        issuers = [{"issuer": "https://login.example.com", "jwks_url": f"{origin}/jwks.json"}]
        listen = {"OPERATOR__LISTEN": str(edge.edge.operator)}
        code, said = await explain(token, TOKENS__ISSUERS=json.dumps(issuers), **listen)
        assert (code, "ok   signature" in said) == (0, True), said
    code, said = await explain(token, TOKENS__ISSUERS=json.dumps(issuers), **listen)
    assert (code, "token-key-unknown: no key in the issuer's JWK Set" in said) == (1, True)
