"""Settings of the kinds of Dailymotion accounts, and a login for one of them."""

import json
from pathlib import Path
from typing import Any

from proxy.sandbox.accounts import PUBLIC_KEY, USER
from proxy.sandbox.state import Sandbox

PUBLIC = {"api_key": PUBLIC_KEY[0], "api_secret": PUBLIC_KEY[1]}
PRIVATE: dict[str, Any] = {}
PASSWORD = {**PUBLIC, "grant": "password", "username": USER[0], "password": USER[1]}
LOGIN = {**PUBLIC, "grant": "authorization_code"}
V2 = {"api": "v2"}
ACCOUNTS = {"client_credentials": PRIVATE, "password": PASSWORD, "login": LOGIN, "v2": V2}


def log_in(sandbox: Sandbox, file: Path) -> dict[str, Any]:
    """Write a refresh token file as `playgate login` does; return settings that use it."""
    accounts, now = sandbox.accounts, sandbox.now()
    code = accounts.authorize("read_video_streams", accounts.callback_url, now=now)
    tokens = accounts.exchange_code(code, accounts.callback_url, now=now)
    file.write_text(
        json.dumps({"api_key": PUBLIC_KEY[0], "refresh_token": tokens["refresh_token"]})
    )
    file.chmod(0o600)
    return {**LOGIN, "login_file": str(file)}
