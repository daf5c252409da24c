"""Settings: their sources, and the report of all errors at once."""

import json
import os
import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr
from support import ROOT, SANDBOX_TOML

from proxy.settings import Settings, SettingsInvalid, load_settings
from proxy.settings.cross_checks import find_warnings
from proxy.settings.sources import find_default_file

BAD = sorted((ROOT / "tests" / "config").glob("bad-*.toml"))
PLAYGATE_TOML = ROOT / "config" / "playgate.toml"
JWK = {"kty": "oct", "k": "s" * 48, "alg": "HS256"}
GOOD = {
    "platform": {"api_key": "key", "api_secret": "secret"},
    "tokens": {"keys": [{"kid": "a", "alg": "HS256", "secret": "s" * 32}]},
}


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_an_invalid_file_is_reported_with_exactly_the_expected_errors(path):
    """Each file ends with the expected message, in lines that start with `#! `."""
    expected = [line[3:] for line in path.read_text().splitlines() if line.startswith("#! ")]
    with pytest.raises(SettingsInvalid) as invalid:
        load_settings(path)

    assert str(invalid.value).removeprefix(f"{path}: ").splitlines() == expected


@pytest.mark.parametrize(
    ("setting", "tables"),
    [
        ('delivery.mode = "relay"', {"delivery": {"mode": "relay"}}),
        ('delivery.cdn_families = ["ipv4"]', {"delivery": {"cdn_families": ["ipv4"]}}),
        (
            'delivery.rules[1].mode = "relay"',
            {
                "delivery": {
                    "rules": [{"videos": "a", "mode": "redirect"}, {"videos": "b", "mode": "relay"}]
                }
            },
        ),
    ],
)
def test_relaying_requires_a_relay_key(setting, tables):
    expected = f"relay.keys: is not set, but required by {setting}; create a key"
    with pytest.raises(SettingsInvalid, match=re.escape(expected)):
        load_settings(None, **GOOD, **tables)
    relay = {**tables.get("relay", {}), "keys": [{"secret": "r" * 32}]}
    settings = load_settings(None, **GOOD, **{**tables, "relay": relay})
    assert settings.get_seal_secrets() == [b"r" * 32]


def test_there_are_no_seal_secrets_without_relay_keys():
    assert load_settings(None, **GOOD).get_seal_secrets() == []


def test_there_are_enough_invalid_settings_files():
    assert len(BAD) >= 8


def remove_places(message: str) -> str:
    return re.sub(r" \((line|PLAYGATE|playgate|secret file )[^)]*\): ", ": ", message)


def list_defaults(model: type[BaseModel], prefix: str = "") -> dict[str, object]:
    defaults: dict[str, object] = {}
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            defaults |= list_defaults(field.annotation, f"{prefix}{name}.")
        else:
            defaults[prefix + name] = field.default
    return defaults


def to_plain_value(value: object) -> object:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return list(value) if isinstance(value, tuple) else value


def test_the_shipped_settings_file_has_every_setting_with_its_default():
    text = tomllib.loads(PLAYGATE_TOML.read_text())
    written = {
        f"{table}.{name}" if isinstance(members, dict) else table: value
        for table, members in text.items()
        for name, value in (members.items() if isinstance(members, dict) else [("", members)])
    }

    assert written == {key: to_plain_value(value) for key, value in list_defaults(Settings).items()}


def test_every_setting_in_the_shipped_file_has_a_comment():
    for line in PLAYGATE_TOML.read_text().splitlines():
        if "=" in line and not line.startswith(("#", "sandbox")):
            assert "#" in line, line


def test_the_sandbox_settings_file_is_valid():
    assert load_settings(SANDBOX_TOML).sandbox


def test_variables_override_secret_files_which_override_the_settings_file(tmp_path, monkeypatch):
    config = tmp_path / "playgate.toml"
    config.write_text('[platform]\napi_key = "file"\napi_secret = "file"\nscope = "file"\n')
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "PLAYGATE_PLATFORM__API_KEY").write_text("secret-file\n")
    (secrets / "playgate_platform__api_secret").write_text("secret-file\n")
    (secrets / "PLAYGATE_TOKENS__KEYS").write_text(json.dumps(GOOD["tokens"]["keys"]))
    (secrets / "unrelated").write_text("x")
    monkeypatch.setenv("PLAYGATE_SECRETS_DIR", str(secrets))
    monkeypatch.setenv("PLAYGATE_PLATFORM__API_KEY", "environment")
    monkeypatch.setenv("PLAYGATE_WEB__LISTEN", "127.0.0.1:9999")

    settings = load_settings(config)

    assert settings.platform.api_key == "environment"
    assert settings.platform.api_secret.get_secret_value() == "secret-file"
    assert settings.platform.scope == "file"
    assert settings.web.listen == "127.0.0.1:9999"
    assert settings.tokens.keys[0].kid == "a"


def test_a_settings_variable_overrides_its_tables_variable_in_any_case(monkeypatch):
    monkeypatch.setenv("playgate_web", '{"listen": "127.0.0.1:1", "drain_timeout": 3}')
    monkeypatch.setenv("PLAYGATE_WEB__LISTEN", "127.0.0.1:2")
    web = load_settings(SANDBOX_TOML).web
    assert (web.listen, web.drain_timeout) == ("127.0.0.1:2", 3)


@pytest.mark.parametrize("name", ["PLAYGATE_CONFIG", "PLAYGATE_SECRETS_DIR"])
def test_the_paths_of_sources_cannot_be_set_by_a_secret_file(tmp_path, monkeypatch, name):
    monkeypatch.setenv("PLAYGATE_SECRETS_DIR", str(tmp_path))
    (tmp_path / name).write_text("x")
    with pytest.raises(SettingsInvalid, match=f"{name}: is not a setting"):
        load_settings(SANDBOX_TOML)


@pytest.mark.parametrize("proxies", [("127.0.0.0/8",), ("127.0.0.1", "::1"), ("::1/128",)])
def test_a_public_listener_with_only_loopback_proxies_causes_a_warning(proxies):
    settings = load_settings(SANDBOX_TOML)
    viewer = settings.viewer.model_copy(update={"trusted_proxies": proxies})
    web = settings.web.model_copy(update={"listen": "0.0.0.0:8080"})
    changed = settings.model_copy(update={"viewer": viewer, "web": web})
    assert "web.listen" in dict(find_warnings(changed, None))


def test_an_unknown_or_undecodable_secret_file_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAYGATE_SECRETS_DIR", str(tmp_path))
    (tmp_path / "PLAYGATE_PLATFROM__API_KEY").write_text("x")
    with pytest.raises(SettingsInvalid, match="PLAYGATE_PLATFROM__API_KEY: is not a setting"):
        load_settings(SANDBOX_TOML)
    (tmp_path / "PLAYGATE_PLATFROM__API_KEY").unlink()
    (tmp_path / "PLAYGATE_PLATFORM__API_KEY").write_bytes(b"\xff")
    with pytest.raises(
        SettingsInvalid, match="secret file PLAYGATE_PLATFORM__API_KEY: is not UTF-8 text"
    ):
        load_settings(SANDBOX_TOML)


@pytest.mark.parametrize("kind", ["folder", "broken link", "loop", "pipe", "unreadable"])
def test_an_unreadable_secret_file_is_reported(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("PLAYGATE_SECRETS_DIR", str(tmp_path))
    secret = tmp_path / "PLAYGATE_OPERATOR__KEY"
    if kind == "folder":
        secret.mkdir()
    elif kind == "broken link":
        secret.symlink_to("nothing")
    elif kind == "pipe":
        os.mkfifo(secret)
    elif kind == "loop":
        secret.symlink_to(secret.name)
    else:
        secret.write_text("a-key-of-at-least-16-characters")
        monkeypatch.setattr(Path, "read_text", make_unreadable(Path.read_text, secret))
    with pytest.raises(
        SettingsInvalid, match="secret file PLAYGATE_OPERATOR__KEY: cannot be read: "
    ):
        load_settings(SANDBOX_TOML)


def make_unreadable(read, file):
    """Refuse to read one file, like the system does; file modes do not stop root."""

    def read_text(path, *args, **options):
        if path == file:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path, *args, **options)

    return read_text


def test_a_secret_file_may_be_a_link_to_another_folder(tmp_path, monkeypatch):
    """Kubernetes volumes contain such links."""
    (tmp_path / "elsewhere").write_text("a-key-of-at-least-16-characters\n")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "PLAYGATE_OPERATOR__KEY").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setenv("PLAYGATE_SECRETS_DIR", str(tmp_path / "secrets"))
    settings = load_settings(SANDBOX_TOML)
    assert settings.operator.key.get_secret_value() == "a-key-of-at-least-16-characters"


def test_files_without_the_prefix_in_the_secrets_folder_are_ignored(tmp_path, monkeypatch):
    (tmp_path / "tls.key").write_bytes(b"\xff\x00")
    (tmp_path / "folder").mkdir()
    monkeypatch.setenv("PLAYGATE_SECRETS_DIR", str(tmp_path))
    assert load_settings(SANDBOX_TOML).sandbox


def test_changing_the_key_file_does_not_change_loaded_settings(tmp_path):
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": [{**JWK, "kid": "b"}]}))
    settings = load_settings(SANDBOX_TOML, tokens={"jwks_file": str(file), **GOOD["tokens"]})
    file.write_text("nonsense")
    assert [key.kid for key in settings.tokens.list_keys(0)] == ["b", "a"]


def test_two_keys_without_a_kid_are_not_reported_as_duplicates():
    keys = [{"alg": "HS256", "secret": secret * 32} for secret in "ab"]
    with pytest.raises(SettingsInvalid) as invalid:
        load_settings(SANDBOX_TOML, tokens={"keys": keys})
    assert [text for _, text in invalid.value.problems] == ["is missing"] * 2


def test_a_kid_that_is_also_in_the_key_file_is_reported(tmp_path):
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": [{**JWK, "kid": "a"}]}))
    with pytest.raises(
        SettingsInvalid,
        match=r"tokens.keys\[0\].kid .*: 'a' is already the kid of a key in tokens.jwks_file",
    ):
        load_settings(SANDBOX_TOML, tokens={"jwks_file": str(file), **GOOD["tokens"]})


def test_an_error_in_the_key_file_is_reported_at_the_line_of_jwks_file(tmp_path):
    file = tmp_path / "keys.json"
    file.write_text("nonsense")
    text = README_FILE.replace(
        "[[tokens.keys]]", f'[tokens]\njwks_file = "{file}"\n[[tokens.keys]]'
    )
    line = text.splitlines().index(f'jwks_file = "{file}"') + 1
    assert list_errors(text, tmp_path)[1:] == [
        f'  tokens.jwks_file (line {line}): {file}: it is not a JWK Set, which has the form {{"keys": […]}}'
    ]


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    mark = b"\xef\xbb\xbf"
    (tmp_path / "x.toml").write_bytes(mark + SANDBOX_TOML.read_bytes())
    (tmp_path / "key").write_bytes(mark + b"k" * 40)
    key = {"kid": "a", "alg": "HS256", "file": str(tmp_path / "key")}
    settings = load_settings(tmp_path / "x.toml", tokens={"keys": [key]})
    assert settings.tokens.keys[0].signing_key.jwk.raw_value == b"k" * 40


def test_a_password_may_contain_a_non_breaking_space(monkeypatch):
    monkeypatch.setenv("PLAYGATE_PLATFORM__PASSWORD", "one\u00a0two")
    assert load_settings(SANDBOX_TOML).platform.password.get_secret_value() == "one\u00a0two"


def test_an_unknown_secret_file_is_reported_together_with_other_errors(tmp_path, monkeypatch):
    (tmp_path / "playgate_config").write_text("x")
    monkeypatch.setenv("PLAYGATE_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("PLAYGATE_TOKENS__MAX_TTL", "soon")
    with pytest.raises(SettingsInvalid) as invalid:
        load_settings(SANDBOX_TOML)
    assert invalid.value.problems == [
        ("secret file playgate_config", "is not a setting"),
        ("tokens.max_ttl (PLAYGATE_TOKENS__MAX_TTL)", "must be a whole number"),
    ]


def test_an_unreadable_default_file_is_an_error(tmp_path, monkeypatch):
    for make in (Path.mkdir, lambda path: path.symlink_to("nothing")):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        monkeypatch.chdir(folder)
        make(Path("playgate.toml"))
        assert find_default_file() == Path("playgate.toml")
        with pytest.raises(SettingsInvalid, match="cannot be read"):
            load_settings(find_default_file())


def test_command_line_options_override_all_other_sources(monkeypatch):
    monkeypatch.setenv("PLAYGATE_WEB__LISTEN", "127.0.0.1:1")
    settings = load_settings(SANDBOX_TOML, web={"listen": "127.0.0.1:2"})

    assert settings.web.listen == "127.0.0.1:2"
    assert settings.web.player_page  # the rest of the table is the file's


def test_options_on_top_of_an_invalid_file_do_not_crash(tmp_path):
    (tmp_path / "x.toml").write_text("web = 7")
    with pytest.raises(SettingsInvalid):
        load_settings(tmp_path / "x.toml", web={"listen": "127.0.0.1:2"})


def test_names_with_a_meaning_for_pydantic_are_unknown_settings(tmp_path):
    (tmp_path / "x.toml").write_text('_secrets_dir = "/"\n_env_file = "x"\n')
    with pytest.raises(SettingsInvalid, match=r"_env_file \(line 2\): is not a setting"):
        load_settings(tmp_path / "x.toml")


def test_a_published_key_in_a_file_is_refused(tmp_path):
    (tmp_path / "key").write_text("sandbox-signing-key-known-to-everybody\n")
    key = {"kid": "a", "alg": "HS256", "file": str(tmp_path / "key")}
    with pytest.raises(SettingsInvalid, match=r"tokens.keys\[0\]: is the published sandbox key"):
        load_settings(None, **{**GOOD, "tokens": {"keys": [key]}})


def test_systemd_credentials_are_read_as_secret_files(tmp_path, monkeypatch):
    (tmp_path / "playgate_platform__api_secret").write_text("credential")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    assert (
        load_settings(
            None, **{**GOOD, "platform": {"api_key": "k"}}
        ).platform.api_secret.get_secret_value()
        == "credential"
    )


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"PLAYGATE_TYPO": "1"}, "PLAYGATE_TYPO: is not a setting"),
        ({"PLAYGATE_WEB__TYPO": "1"}, "web.typo: is not a setting"),
        ({"PLAYGATE_WEB__LISEN": "1"}, "web.lisen: is not a setting; did you mean listen?"),
        ({"PLAYGATE_TOKENS__KEYS": "[{"}, "tokens.keys: must be a list"),
        ({"playgate_wob__listen": "1"}, "playgate_wob__listen: is not a setting"),
        (
            {"PLAYGATE_TOKENS__KEYS": "[{", "PLAYGATE_WEB__LISTEN": "x"},
            "web.listen: must be HOST:PORT",
        ),
        (
            {"PLAYGATE_SANDBOX": "t", "PLAYGATE_WEB__LISTEN": "0.0.0.0:80"},
            "web.listen: must be on loopback",
        ),
        (
            {"PLAYGATE_SANDBOX": "y", "PLAYGATE_WEB__LISTEN": "0.0.0.0:80"},
            "web.listen: must be on loopback",
        ),
        ({"PLAYGATE_PLATFORM__TOKEN_URL": ""}, "platform.token_url: must be on loopback"),
        (
            {"PLAYGATE_PLATFORM__TOKEN_URL": " http://127.0.0.1/"},
            "platform.token_url: must be an http or https URL",
        ),
        (
            {"PLAYGATE_PLATFORM__REST_URL": "http://127.0.0.1/#x"},
            "platform.rest_url: must be an http or https URL",
        ),
        (
            {"PLAYGATE_WEB__PUBLIC_URL": "https://a..example"},
            "web.public_url: must be an http or https URL",
        ),
        (
            {"PLAYGATE_WEB__PUBLIC_URL": f"https://{'a' * 64}.de"},
            "web.public_url: must be an http or https URL",
        ),
        (
            {"PLAYGATE_WEB__PUBLIC_URL": "https://xn--a.example"},
            "web.public_url: must be an http or https URL",
        ),
        (
            {"PLAYGATE_WEB__PUBLIC_URL": "https://a%00.example"},
            "web.public_url: must be an http or https URL",
        ),
        (
            {"PLAYGATE_WEB__PUBLIC_URL": "https://a.example:99999"},
            "web.public_url: must be an http or https URL",
        ),
        ({"PLAYGATE_OPERATOR__KEY": "short"}, "operator.key: is shorter than 16 characters"),
        ({"PLAYGATE_TOKENS__MAX_TTL": "soon"}, "tokens.max_ttl: must be a whole number"),
        (
            {"PLAYGATE_WEB__PUBLIC_URL": "https://a.example/tv"},
            "web.public_url: must not have a path",
        ),
        ({"PLAYGATE_PLATFORM__API_SECRET": "one\ntwo"}, "platform.api_secret: must be one line"),
        ({"PLAYGATE_PLATFORM__API_KEY": "one\r"}, "platform.api_key: must be one line"),
        ({"PLAYGATE_OPERATOR__KEY": "k" * 20 + "\t"}, "operator.key: must be one line"),
        ({"PLAYGATE_PLATFORM__API_SECRET": ""}, "platform.api_secret: is empty"),
        (
            {"PLAYGATE_TOKENS__MAX_TTL": "60"},
            "tokens.default_ttl: is 300, but must not exceed tokens.max_ttl (60)",
        ),
        (
            {
                "PLAYGATE_TOKENS__KEYS": json.dumps(
                    [{"kid": "a", "alg": "HS256", "file": "key.secret"}]
                )
            },
            "tokens.keys[0].file: must be an absolute path",
        ),
        (
            {"PLAYGATE_SECRETS_DIR": "/does/not/exist"},
            "/does/not/exist (PLAYGATE_SECRETS_DIR) cannot be read: No such file or directory",
        ),
        (
            {"CREDENTIALS_DIRECTORY": "/dev/null"},
            "/dev/null (CREDENTIALS_DIRECTORY) cannot be read: Not a directory",
        ),
    ],
)
def test_an_error_in_the_environment_is_reported(monkeypatch, variables, expected):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsInvalid) as invalid:
        load_settings(SANDBOX_TOML)

    assert expected in remove_places(str(invalid.value))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web = 'x", "is not TOML"),
        (
            "[web]\n[web]\n",
            r"is not TOML: \[web\] appears twice; merge the two tables \(at line 2",
        ),
        ("[[a]]\n[a.b]\n[a.b]\n", r"\[a.b\] appears twice"),
        ("[web]\nlisten = x\n", r"invalid value; put quotes around text \(at line 2"),
        ("\udcff", "is not UTF-8 text"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_an_unreadable_settings_file_is_reported(tmp_path, text, expected):
    path = tmp_path / "x.toml"
    if text is not None:
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SettingsInvalid, match=expected):
        load_settings(path)


def test_a_token_key_may_be_in_a_file(tmp_path):
    (tmp_path / "secret").write_text("s" * 32 + "\n")
    key = {"kid": "a", "alg": "HS256", "file": str(tmp_path / "secret")}
    settings = load_settings(None, **{**GOOD, "tokens": {"keys": [key]}})

    assert settings.tokens.keys[0].signing_key.can_sign
    (tmp_path / "secret").unlink()
    with pytest.raises(
        SettingsInvalid,
        match=r"tokens.keys\[0\]: its file /\S+/secret cannot be read: No such file",
    ):
        load_settings(None, **{**GOOD, "tokens": {"keys": [key]}})


def test_the_text_of_settings_contains_no_secret():
    settings = load_settings(None, **GOOD)

    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert "s" * 32 not in shown and "'secret'" not in shown


@pytest.mark.parametrize("table", ["web", "operator", "platform", "tokens", "viewer"])
def test_no_error_message_repeats_a_value(table):
    """Messages name settings, and never repeat their values."""
    values = {name: "HUSH-HUSH" for name in list_defaults(Settings) if name.startswith(f"{table}.")}
    tables = {table: {name.split(".")[1]: value for name, value in values.items()}}
    with pytest.raises(SettingsInvalid) as invalid:
        load_settings(None, **tables)

    assert "HUSH-HUSH" not in str(invalid.value)


def test_the_shipped_file_lacks_exactly_the_required_settings():
    with pytest.raises(SettingsInvalid) as invalid:
        load_settings(PLAYGATE_TOML)

    assert [key.partition(" ")[0] for key, _ in invalid.value.problems] == [
        "platform.api_key",
        "platform.api_secret",
        "tokens.keys",
    ]
    assert isinstance(invalid.value.source, Path)


def list_errors(text: str, tmp_path: Path, **variables: str) -> list[str]:
    path = tmp_path / "playgate.toml"
    path.write_text(text)
    with pytest.raises(SettingsInvalid) as invalid:
        load_settings(path)
    return str(invalid.value).replace(str(path), "FILE").splitlines()


README_FILE = """[platform]
api_key = "a"
api_secret = "b"

[[tokens.keys]]
kid = "a"
alg = "HS256"
secret = "0123456789abcdef0123456789abcdef"
"""


def test_a_setting_appended_to_the_wrong_table_is_reported_with_its_place(tmp_path):
    """TOML assigns a line at the end to the last table, [[tokens.keys]]."""
    assert list_errors(README_FILE + 'viewer.private = "omit"', tmp_path)[1:] == [
        "  tokens.keys[0].viewer (line 9): is not a setting of this table; move it under [viewer], above [[tokens.keys]]"
    ]
    assert list_errors(README_FILE + "sandbox = true", tmp_path)[1:] == [
        "  tokens.keys[0].sandbox (line 9): is not a setting of this table; move it above the first table"
    ]
    assert list_errors(README_FILE + 'private = "omit"', tmp_path)[1:] == [
        (
            "  tokens.keys[0].private (line 9): is not a setting here; did you mean viewer.private? "
            "Move it under [viewer], above [[tokens.keys]]"
        )
    ]
    assert list_errors(README_FILE + "mode = 1", tmp_path)[1:] == [
        (
            "  tokens.keys[0].mode (line 9): is not a setting here; did you mean delivery.mode? "
            "Move it under [delivery], above [[tokens.keys]]"
        )
    ]
    assert list_errors('public_url = "https://a.example"\n' + README_FILE, tmp_path)[1:] == [
        "  public_url (line 1): is not a setting here; did you mean web.public_url? Move it under [web]"
    ]


def test_a_placeholder_is_reported_as_the_only_error_of_its_setting(tmp_path):
    text = README_FILE.replace('"b"', '"…"').replace("0123456789abcdef0123456789abcdef", "...")
    assert list_errors(text, tmp_path) == [
        "FILE: 2 errors in the settings",
        "  platform.api_secret (line 3): is still the placeholder …; replace it with the real value",
        "  tokens.keys[0].secret (line 8): is still the placeholder ...; replace it with the real value",
    ]


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("PLAYGATE_DELIVERY_MODE", "relay", "PLAYGATE_DELIVERY_MODE: is not a setting; did you mean PLAYGATE_DELIVERY__MODE, with two underscores?"),
        ("playgate_web_public_url", "x", "playgate_web_public_url: is not a setting; did you mean PLAYGATE_WEB__PUBLIC_URL, with two underscores?"),
        ("PLAYGATE_WEB__LISTEN__X", "1", "PLAYGATE_WEB__LISTEN__X: is not a setting; set the whole value with PLAYGATE_WEB__LISTEN"),
        ("PLAYGATE_SANDBOX__A", "1", "PLAYGATE_SANDBOX__A: is not a setting; set the whole value with PLAYGATE_SANDBOX"),
        ("PLAYGATE_TOKENS__KEYS__0__KID", "x", "PLAYGATE_TOKENS__KEYS__0__KID: is not a setting; set the whole value with PLAYGATE_TOKENS__KEYS"),
        ("PLAYGATE_WEB__", "1", "PLAYGATE_WEB__: is not a setting"),
        ("PLAYGATE_CONFG", "x", "PLAYGATE_CONFG: is not a setting; did you mean PLAYGATE_CONFIG?"),
        ("PLAYGATE_PORT", "1", "PLAYGATE_PORT: is not a setting"),
        ("PLAYGATE_SANDBOXX", "1", "PLAYGATE_SANDBOXX: is not a setting; did you mean PLAYGATE_SANDBOX?"),
        ("PLAYGATE_TOKENS__MAX_TTL", "soon", "tokens.max_ttl (PLAYGATE_TOKENS__MAX_TTL): must be a whole number"),
        ("PLAYGATE_VIEWER__TRUSTED_PROXIES", "10.0.0.1", 'viewer.trusted_proxies (PLAYGATE_VIEWER__TRUSTED_PROXIES): must be a list such as ["127.0.0.1", "::1"]'),
        ("PLAYGATE_WEB__EMBED_ORIGINS", "x", 'web.embed_origins (PLAYGATE_WEB__EMBED_ORIGINS): must be a list such as ["…"]'),
        ("PLAYGATE_DELIVERY__RULES", "relay", 'delivery.rules (PLAYGATE_DELIVERY__RULES): must be a list of tables: [[delivery.rules]] in the file, [{"videos": "…", "mode": "…"}] in the environment'),
        ("PLAYGATE_TOKENS__KEYS", '[{"kid": "a"}]', "tokens.keys[0].alg (PLAYGATE_TOKENS__KEYS): is missing"),
    ],
)  # fmt: skip
def test_an_error_in_a_variable_names_the_variable_instead_of_the_file(
    tmp_path, monkeypatch, variable, value, line
):
    monkeypatch.setenv(variable, value)
    assert list_errors(README_FILE, tmp_path) == ["1 error in the settings", f"  {line}"]


def test_an_error_in_a_secret_file_names_the_file(tmp_path, monkeypatch):
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "playgate_operator__key").write_text("short")
    monkeypatch.setenv("PLAYGATE_SECRETS_DIR", str(folder))
    assert list_errors(README_FILE, tmp_path)[1:] == [
        "  operator.key (secret file playgate_operator__key): is shorter than 16 characters; create a key: openssl rand -hex 32"
    ]


def test_line_numbers_are_correct_after_multi_line_values(tmp_path):
    text = """# a comment
[viewer]
trusted_proxies = [
  "10.0.0.0/8", # one
  "10.0.0.0/99",
]

[auth]
protected_paths = ['''
(''']
web.lisen = 1
"""
    assert list_errors(text + README_FILE, tmp_path)[1:] == [
        "  auth.protected_paths[0] (line 9): is not a regular expression: missing ), unterminated subpattern at position 0",
        "  auth.web (line 11): is not a setting of this table; move it under [web]",
        "  viewer.trusted_proxies[1] (line 3): must be an IP address or a network such as 10.0.0.0/8",
    ]


RAW = re.compile(
    r"\b(input|value|field|string|assertion)\b.{0,20}\b(should|error|required|valid)\b",
    re.IGNORECASE,
)
WRONG = (None, True, -1, 7.5, 10**400, "x" * 300, "", [], [7], {}, {"a": 1}, "\x00")


def test_no_message_of_the_validation_library_is_shown():
    """Set every setting to values of every type; each value is invalid for some setting."""
    seen = set()
    for value in WRONG:
        for name in list_defaults(Settings):
            table, _, field = name.rpartition(".")
            tables = {"sandbox": value} if not table else {table: {field: value}}
            try:
                load_settings(None, **tables)
            except SettingsInvalid as invalid:
                seen |= {text for _, text in invalid.problems}
    entries = ("tokens", "keys"), ("tokens", "issuers"), ("delivery", "rules"), ("relay", "keys")
    for table, field in entries:
        for entry in (
            {},
            7,
            {"kid": 1, "alg": 1, "secret": 1, "file": 1, "issuer": 1},
            {"kid": "x" * 200, "file": [], "videos": 1, "mode": 1},
        ):
            with pytest.raises(SettingsInvalid) as invalid:
                load_settings(None, **{table: {field: [entry]}})
            seen |= {text for _, text in invalid.value.problems}

    assert len(seen) > 30
    assert [
        text
        for text in seen
        if RAW.search(text) or "is not valid" in text or "expected form" in text
    ] == []


def test_the_error_without_a_settings_file_names_the_default_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        SettingsInvalid, match=r"playgate.toml and /etc/playgate/playgate.toml do not exist"
    ):
        load_settings(None)
