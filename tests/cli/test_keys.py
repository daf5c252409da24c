"""`playgate keys`: the commands, and the file that they write."""

import json
import re
import stat
from base64 import urlsafe_b64decode

import jwt
import pytest
from support import SANDBOX_TOML
from typer.testing import CliRunner

from proxy.cli import app
from proxy.settings import load_settings

KID = r"\d{4}-\d\d-\d\d-[0-9a-f]{6}"


@pytest.fixture
def keys(tmp_path, monkeypatch):
    """Return a function that runs `playgate keys` on a temporary file."""
    file = tmp_path / "keys.json"
    monkeypatch.setenv("PLAYGATE_TOKENS__JWKS_FILE", str(file))

    def run(*arguments: str, code: int = 0) -> str:
        command = ["keys", *arguments, "--config", str(SANDBOX_TOML)]
        result = CliRunner().invoke(app, command, env={"COLUMNS": "200", "NO_COLOR": "1"})
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result.output

    run.file = file
    return run


def read_key_set(keys) -> list[dict]:
    return json.loads(keys.file.read_text())["keys"]


def read_roles(keys) -> list[tuple[str, str]]:
    lines = keys("list").splitlines()[1:]
    return [re.fullmatch(rf"\s*({KID})\s+\S+\s+\S+\s+(.*?)\s*", line).groups() for line in lines]


def mint_and_verify(**claims) -> str:
    result = CliRunner().invoke(
        app, ["token", "mint", "--video", "x8demo1", "--config", str(SANDBOX_TOML)]
    )
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def test_the_first_key_signs_and_only_its_owner_can_read_the_file(keys):
    said = keys("generate")
    assert re.fullmatch(
        rf"Added {KID} \(HS256\) to {keys.file}\.\nThis key signs new tokens\.\n", said
    )
    assert stat.S_IMODE(keys.file.stat().st_mode) == 0o600
    (key,) = read_key_set(keys)
    assert jwt.get_unverified_header(mint_and_verify())["kid"] == key["kid"]
    assert key["k"] not in said + keys("list")


@pytest.mark.parametrize("alg", ["HS256", "ES256", "RS256", "Ed25519"])
def test_other_libraries_verify_tokens_of_every_algorithm(keys, alg):
    keys("generate", "--alg", alg)
    token = mint_and_verify()
    older_name = alg.replace("Ed25519", "EdDSA")  # PyJWT accepts only this name
    key = jwt.PyJWK({**read_key_set(keys)[0], "alg": older_name})
    verifying = key.key if alg == "HS256" else key.key.public_key()
    if alg == "Ed25519":
        signed, _, signature = token.rpartition(".")
        verifying.verify(urlsafe_b64decode(signature + "=="), signed.encode())
    else:
        assert jwt.decode(token, verifying, algorithms=[alg])["video"] == "x8demo1"


def test_a_further_key_signs_only_after_a_rotation(keys):
    keys("generate")
    first = read_key_set(keys)[0]["kid"]
    assert "To sign new tokens with it, run playgate keys rotate." in keys(
        "generate", "--alg", "ES256"
    )
    second = read_key_set(keys)[1]["kid"]
    assert read_roles(keys) == [(first, "signs"), (second, "verifies, does not sign yet")]
    assert jwt.get_unverified_header(mint_and_verify())["kid"] == first

    said = keys("rotate")
    assert said.startswith(f"{second} signs new tokens from now on\n{first} verifies tokens until ")
    assert [name for name, _ in read_roles(keys)] == [second, first]
    assert read_roles(keys)[1][1].startswith("verifies until 20")
    assert jwt.get_unverified_header(mint_and_verify())["kid"] == second
    max_ttl = load_settings(SANDBOX_TOML).tokens.max_ttl
    assert read_key_set(keys)[1]["exp"] - read_key_set(keys)[0]["iat"] == pytest.approx(
        max_ttl + 5, abs=60
    )


def test_rotate_does_not_generate_a_key(keys):
    """Edges that have not read the file yet would refuse tokens of a key that signs at once."""
    assert "run playgate keys generate, copy the file to every edge" in keys("rotate", code=1)
    keys("generate")
    before = keys.file.read_text()
    assert "there is no key to rotate to" in keys("rotate", code=1)
    assert keys.file.read_text() == before


def test_rotate_never_returns_to_an_older_key(keys):
    """Otherwise a key that was skipped would sign after a second `rotate`."""
    for _ in range(3):
        keys("generate")  # within one second
    newest = read_key_set(keys)[2]["kid"]
    assert keys("rotate").startswith(f"{newest} signs")
    assert "there is no key to rotate to" in keys("rotate", code=1)
    assert read_key_set(keys)[0]["kid"] == newest
    assert read_roles(keys)[-1][1] == "verifies, older than the signing key"
    content = json.loads(keys.file.read_text())
    content["keys"][2]["iat"] = "yesterday"  # written by another program: a rotation may use it
    keys.file.write_text(json.dumps(content))
    assert keys("rotate").startswith(content["keys"][2]["kid"])


def test_an_empty_list_explains_how_to_add_a_key(keys):
    assert "run playgate keys generate" in keys("list", code=1)


def test_tokens_of_a_retired_key_are_refused_at_once(keys):
    keys("generate")
    (leaked,) = read_key_set(keys)
    assert "is the signing key: first run playgate keys generate and playgate keys rotate" in keys(
        "retire", leaked["kid"], code=1
    )
    token = mint_and_verify()
    keys("generate")
    keys("rotate")
    assert f"Removed {leaked['kid']} from" in keys("retire", leaked["kid"])
    assert leaked["kid"] not in [key["kid"] for key in read_key_set(keys)]
    explained = CliRunner().invoke(app, ["token", "explain", token, "--config", str(SANDBOX_TOML)])
    assert "token-key-unknown" in explained.output
    assert "see playgate keys list" in keys("retire", leaked["kid"], code=1)


def test_an_expired_key_verifies_nothing_and_is_removed(keys):
    keys("generate")
    keys("generate")
    keys("rotate")
    content = json.loads(keys.file.read_text())
    settings = load_settings(SANDBOX_TOML)
    expires_at = content["keys"][1]["exp"]
    before = expires_at - 1
    assert len(settings.tokens.list_keys(before)) == 3
    assert len(settings.tokens.list_keys(expires_at)) == 2

    content["keys"][1]["exp"] = 1_700_000_000
    keys.file.write_text(json.dumps(content))
    assert read_roles(keys)[1][1].startswith("expired 2023")
    keys("generate")
    assert [role for _, role in read_roles(keys)] == ["signs", "verifies, does not sign yet"]


def test_an_invalid_file_is_reported_and_left_unchanged(keys):
    for text, says in (
        ("not json", "it is not a JWK Set"),
        (
            '{"keys": [{"kty": "oct", "kid": "a", "k": "c2hvcnQ"}]}',
            "key 1 of the set: its secret has less than",
        ),
    ):
        keys.file.write_text(text)
        for command in ("list", "generate", "rotate"):
            assert says in keys(command, code=1)
        assert keys.file.read_text() == text
        assert "c2hvcnQ" not in keys("list", code=1)
        checked = CliRunner().invoke(app, ["check-config", "--config", str(SANDBOX_TOML)])
        assert (checked.exit_code, says in checked.output) == (1, True)


def test_the_file_keeps_its_mode_and_no_temporary_file_remains(keys):
    keys("generate")
    keys.file.chmod(0o640)
    keys("generate")
    assert stat.S_IMODE(keys.file.stat().st_mode) == 0o640
    assert list(keys.file.parent.iterdir()) == [keys.file]


def test_a_symbolic_link_is_followed(keys, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    keys.file.symlink_to(elsewhere / "real.json")
    keys("generate")
    keys("generate")
    assert keys.file.is_symlink()
    assert len(read_key_set(keys)) == 2


def test_without_jwks_file_the_error_names_the_setting(monkeypatch):
    result = CliRunner().invoke(app, ["keys", "list", "--config", str(SANDBOX_TOML)])
    assert (result.exit_code, "tokens.jwks_file is not set" in result.output) == (1, True)


def test_a_missing_folder_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PLAYGATE_TOKENS__JWKS_FILE", str(tmp_path / "nowhere" / "keys.json"))
    result = CliRunner().invoke(app, ["keys", "generate", "--config", str(SANDBOX_TOML)])
    assert result.exit_code == 1
    assert f"the folder {tmp_path}/nowhere does not exist" in result.output
    assert f"mkdir -p {tmp_path}/nowhere" in result.output


SIGNING = {"video": "x8demo1", "iat": 1_700_000_000, "exp": 1_700_000_300}


def accepts(token: str) -> bool:
    """Return whether an edge with this test's keys accepts the signature, also after expiry."""
    explained = CliRunner().invoke(app, ["token", "explain", token, "--config", str(SANDBOX_TOML)])
    return re.search(r"^ok +signature", explained.output, re.MULTILINE) is not None


@pytest.mark.parametrize("alg", ["HS256", "ES256", "RS256", "Ed25519"])
def test_other_libraries_sign_with_an_exported_key_unchanged(keys, alg):
    keys("generate", "--alg", alg)
    kid = read_key_set(keys)[0]["kid"]
    secret = keys(
        "export", kid, "--secret"
    )  # in a pipe: no newline, which would count as part of it
    older_name = alg.replace("Ed25519", "EdDSA")
    token = jwt.encode(SIGNING, secret, algorithm=older_name, headers={"kid": kid})

    assert accepts(token)
    if alg == "HS256":
        assert re.fullmatch(r"[0-9a-f]{64}", secret)


@pytest.mark.parametrize("alg", ["ES256", "RS256", "Ed25519"])
def test_a_public_export_contains_no_private_key(keys, alg):
    keys("generate", "--alg", alg)
    keys("generate", "--alg", "HS256")
    own = read_key_set(keys)[0]
    public = keys("export", own["kid"])
    assert public == keys("export", own["kid"], "--public")
    assert public.startswith("-----BEGIN PUBLIC KEY-----")
    (published,) = json.loads(keys("export"))["keys"]
    assert published == json.loads(keys("export", own["kid"], "--jwk"))
    assert (published["kid"], published["use"]) == (own["kid"], "sig")
    assert published.get("alg") == (
        None if alg == "Ed25519" else alg
    )  # libraries know Ed25519 by two names
    for text in (public, json.dumps(published)):
        assert own["d"] not in text and "PRIVATE" not in text
    assert not set(published) & {"d", "p", "q", "dp", "dq", "qi", "k"}
    private = json.loads(keys("export", own["kid"], "--secret", "--jwk"))
    assert private["d"] == own["d"]

    name = alg.replace("Ed25519", "EdDSA")  # PyJWT accepts only this name
    signing = keys("export", own["kid"], "--secret")
    token = jwt.encode(SIGNING, signing, algorithm=name, headers={"kid": own["kid"]})
    verifying = jwt.PyJWKSet.from_json(keys("export"))[own["kid"]]
    claims = jwt.decode(token, verifying, algorithms=[name], options={"verify_exp": False})
    assert claims == SIGNING


def test_a_key_in_the_settings_cannot_be_exported(keys):
    keys("generate")
    assert "sandbox is set in tokens.keys" in keys("export", "sandbox", "--secret", code=1)


def test_a_failed_export_explains_the_cause_and_the_next_step(keys):
    keys("generate")
    (own,) = read_key_set(keys)
    assert "has no public key; to print the secret, add --secret" in keys(
        "export", own["kid"], code=1
    )
    assert "HS256 keys are shared secrets" in keys("export", code=1)
    assert "give its KID" in keys("export", "--secret", code=1)
    assert "cannot be combined" in keys("export", own["kid"], "--secret", "--public", code=1)
    assert "see playgate keys list" in keys("export", "nobody", code=1)
    keys.file.write_text(json.dumps({"keys": [{**own, "k": "_" * 42 + "8"}]}))  # not text
    said = keys("export", own["kid"], "--secret", code=1)
    assert "is not text: add --jwk" in said and "base64url" in said
    assert json.loads(keys("export", own["kid"], "--secret", "--jwk"))["k"] == "_" * 42 + "8"
    public = {"kty": "EC", "crv": "P-256", "kid": "p", **PUBLIC_POINT}
    keys.file.write_text(json.dumps({"keys": [public]}))
    assert "has only the public key of p" in keys("export", "p", "--secret", code=1)
    before = keys.file.read_text()
    keys("export", "p")
    assert keys.file.read_text() == before


PUBLIC_POINT = {  # RFC 7515, A.3
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
