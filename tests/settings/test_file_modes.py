"""Files that others may write are refused; secret files that others may read cause warnings."""

import json
import os
import re
from base64 import b32encode, b64encode, urlsafe_b64encode
from hashlib import sha256
from pathlib import Path

import pytest
from support import SANDBOX_TOML

from proxy.settings import SettingsInvalid, key_file, load_settings
from proxy.settings.cross_checks import find_warnings

TOML = """
[platform]
api_key = "key"
api_secret = "{secret}"

[tokens]
jwks_file = "{folder}/keys.json"

[[tokens.keys]]
kid = "a"
alg = "HS256"
file = "{folder}/token.secret"

[[relay.keys]]
file = "{folder}/seal.secret"
"""
FILES = {
    "playgate.toml": "(file)",
    "keys.json": "tokens.jwks_file",
    "token.secret": "tokens.keys[0].file",
    "seal.secret": "relay.keys[0].file",
    "PLAYGATE_OPERATOR__KEY": "PLAYGATE_OPERATOR__KEY",
}


EVERY_USER = "every user of this machine"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    (tmp_path / "playgate.toml").write_text(TOML.format(folder=tmp_path, secret="hush"))
    jwk = {"kty": "oct", "k": "s" * 48, "alg": "HS256", "kid": "b"}
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [jwk]}))
    (tmp_path / "token.secret").write_text("t" * 32)
    (tmp_path / "seal.secret").write_text("r" * 32)
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "PLAYGATE_OPERATOR__KEY").write_text("o" * 32)
    monkeypatch.setenv("PLAYGATE_SECRETS_DIR", str(secrets))
    for file in (*tmp_path.iterdir(), *secrets.iterdir()):
        file.chmod(0o700 if file.is_dir() else 0o600)
    return tmp_path


def find_file(folder: Path, name: str) -> Path:
    return folder / "secrets" / name if name.startswith("PLAYGATE_") else folder / name


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("mode", "writers"), [(0o620, "its group"), (0o602, EVERY_USER), (0o666, EVERY_USER)]
)
def test_a_file_that_others_may_write_is_refused(folder, name, mode, writers):
    file = find_file(folder, name)
    file.chmod(mode)
    with pytest.raises(SettingsInvalid) as invalid:
        load_settings(folder / "playgate.toml")
    ((setting, text),) = invalid.value.problems
    assert re.sub(r" \(line.*", "", setting).removeprefix("secret file ") == FILES[name]
    assert text == f"{file} can be written by {writers}; run chmod go-w {file}"
    file.chmod(0o640)
    load_settings(folder / "playgate.toml")


@pytest.mark.parametrize("name", FILES)
def test_a_secret_file_that_every_user_may_read_causes_a_warning(folder, name):
    path = folder / "playgate.toml"
    assert list(find_warnings(load_settings(path), path)) == []
    file = find_file(folder, name)
    file.chmod(0o644)
    expected = (FILES[name], f"{file} can be read by {EVERY_USER}; run chmod 600 {file}")
    assert list(find_warnings(load_settings(path), path)) == [expected]


@pytest.mark.parametrize(
    ("name", "setting", "mode"),
    [(".", "(file)", 0o777), (".", "(file)", 0o702), ("secrets", "PLAYGATE_OPERATOR__KEY", 0o722)],
)
def test_a_folder_in_which_others_may_replace_a_file_causes_a_warning(folder, name, setting, mode):
    path = folder / "playgate.toml"
    (folder / name).chmod(mode)
    changed = folder / name
    text = f"{changed} can be written by {EVERY_USER}; run chmod o-w {changed}"
    expected = (setting, text)
    assert list(find_warnings(load_settings(path), path)) == [expected]
    (folder / name).chmod(mode | 0o1000)
    assert list(find_warnings(load_settings(path), path)) == []


def test_the_folders_of_every_symbolic_link_to_a_file_are_checked(folder):
    path, between, elsewhere = folder / "playgate.toml", folder / "between", folder / "elsewhere"
    for parent in (between, elsewhere):
        parent.mkdir(mode=0o700)
    (folder / "token.secret").rename(elsewhere / "token.secret")
    (between / "token.secret").symlink_to(elsewhere / "token.secret")
    (folder / "token.secret").symlink_to(Path("between", "token.secret"))
    assert list(find_warnings(load_settings(path), path)) == []
    for parent in (between, elsewhere):
        parent.chmod(0o777)
        text = f"{parent} can be written by {EVERY_USER}; run chmod o-w {parent}"
        assert list(find_warnings(load_settings(path), path)) == [("tokens.keys[0].file", text)]
        parent.chmod(0o700)


def test_a_settings_file_without_secrets_may_be_readable_by_everyone(folder, monkeypatch):
    monkeypatch.setenv("PLAYGATE_PLATFORM__API_SECRET", "hush")
    path = folder / "playgate.toml"
    path.write_text(TOML.format(folder=folder, secret="").replace('api_secret = ""', ""))
    path.chmod(0o644)
    assert list(find_warnings(load_settings(path), path)) == []


def test_the_mode_of_a_links_target_is_checked(folder):
    """In a Kubernetes volume, every file is a link."""
    file = folder / "token.secret"
    file.rename(folder / "elsewhere")
    file.symlink_to(folder / "elsewhere")
    load_settings(folder / "playgate.toml")
    (folder / "elsewhere").chmod(0o666)
    with pytest.raises(SettingsInvalid, match="can be written by every user"):
        load_settings(folder / "playgate.toml")


@pytest.mark.parametrize("name", ["playgate.toml", "keys.json", "token.secret", "seal.secret"])
def test_a_pipe_is_refused_without_waiting_for_its_writer(folder, name):
    (folder / name).unlink()
    os.mkfifo(folder / name, 0o600)
    with pytest.raises(SettingsInvalid, match="cannot be read: it is not a regular file"):
        load_settings(folder / "playgate.toml")


def test_a_settings_file_may_be_the_output_of_a_command(folder):
    """playgate check-config --config <(sops decrypt playgate.toml)."""
    reading, writing = os.pipe()
    os.write(writing, (folder / "playgate.toml").read_bytes())
    os.close(writing)
    load_settings(Path(f"/dev/fd/{reading}"))
    os.close(reading)


def test_a_path_with_a_nul_byte_is_reported(folder, monkeypatch):
    monkeypatch.setattr(os, "environ", {})
    path = folder / "playgate.toml"
    path.write_text(path.read_text().replace("token.secret", "token\\u0000.secret"))
    with pytest.raises(SettingsInvalid, match="the path contains a NUL byte"):
        load_settings(path)


SECRET_TEXT = "0123456789abcdef0123456789abcde~"


@pytest.mark.parametrize(
    ("token", "relay"),
    [
        (SECRET_TEXT, SECRET_TEXT),
        (SECRET_TEXT, f" {SECRET_TEXT}\n"),
        (SECRET_TEXT, f"{SECRET_TEXT}\0"),
        (SECRET_TEXT, b64encode(SECRET_TEXT.encode()).decode()),
        (SECRET_TEXT, urlsafe_b64encode(SECRET_TEXT.encode()).rstrip(b"=").decode()),
        (SECRET_TEXT, SECRET_TEXT.encode().hex()),
        (b64encode(SECRET_TEXT.encode()).decode(), SECRET_TEXT),
        (b64encode(SECRET_TEXT.encode()).decode(), SECRET_TEXT.encode().hex()),
        (SECRET_TEXT.encode().hex(), SECRET_TEXT.encode().hex().upper()),
        (SECRET_TEXT, b32encode(SECRET_TEXT.encode()).decode().lower().rstrip("=")),
        ("k" * 65, sha256(b"k" * 65).hexdigest()),
    ],
)
def test_a_relay_key_must_not_be_a_token_secret_in_any_encoding(token, relay):
    tables = {
        "platform": {"api_key": "key", "api_secret": "secret"},
        "tokens": {"keys": [{"kid": "a", "alg": "HS256", "secret": token}]},
        "relay": {"keys": [{"secret": relay}]},
    }
    with pytest.raises(SettingsInvalid, match="is also the secret of a token key"):
        load_settings(None, **tables)


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("operator", "key"),
        ("platform", "api_secret"),
        ("platform", "password"),
        ("videos", "api_secret"),
    ],
)
def test_a_relay_key_must_not_be_another_secret_of_the_settings(table, name):
    tables = {
        "platform": {"api_key": "key", "api_secret": "secret"},
        "tokens": {
            "keys": [{"kid": "a", "alg": "HS256", "secret": "another secret of 32 characters."}]
        },
        "relay": {"keys": [{"secret": SECRET_TEXT.encode().hex()}]},
    }
    tables[table] = {**tables.get(table, {}), name: SECRET_TEXT}
    with pytest.raises(SettingsInvalid, match=rf"relay.keys\[0\].* is also {table}.{name}"):
        load_settings(None, **tables)


def test_a_relay_key_must_not_be_a_public_key():
    """Everyone who verifies tokens has the public key."""
    pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n"
    tables = {
        "platform": {"api_key": "key", "api_secret": "secret"},
        "tokens": {"keys": [{"kid": "a", "alg": "HS256", "secret": SECRET_TEXT}]},
        "relay": {"keys": [{"secret": pem}]},
    }
    with pytest.raises(SettingsInvalid, match="is a PEM key"):
        load_settings(None, **tables)


@pytest.mark.parametrize(
    "code", [bytes, lambda secret: secret + b"\0", lambda secret: secret.hex().encode(), b64encode]
)
def test_a_published_secret_is_refused_in_any_encoding(code):
    secret = code(b"sandbox-signing-key-known-to-everybody").decode()
    tables = {
        "platform": {"api_key": "key", "api_secret": "secret"},
        "tokens": {"keys": [{"kid": "a", "alg": "HS256", "secret": secret}]},
    }
    with pytest.raises(SettingsInvalid, match="is the published sandbox key"):
        load_settings(None, **tables)


def test_file_modes_are_not_checked_in_the_sandbox(tmp_path):
    path = tmp_path / "sandbox.toml"
    path.write_text(SANDBOX_TOML.read_text())
    path.chmod(0o666)
    assert list(find_warnings(load_settings(path), path)) == []


@pytest.mark.parametrize(("before", "after"), [(None, 0o600), (0o666, 0o644), (0o640, 0o640)])
def test_only_the_owner_may_write_a_replaced_key_file(tmp_path, before, after):
    path = tmp_path / "keys.json"
    if before is not None:
        path.write_text("{}")
        path.chmod(before)
    old = os.umask(0)
    try:
        key_file.replace(path, "{}")
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == after
