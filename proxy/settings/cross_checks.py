"""Check the rules that involve several settings; yields errors and warnings."""

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

from yarl import URL

from proxy.domain.client_ip import is_public, parse_address
from proxy.settings.file_modes import (
    find_readable_files,
    find_writable_files,
    find_writable_folders,
)
from proxy.settings.key_checks import (
    NOT_HTTPS_TEXT,
    NOT_LOOPBACK_TEXT,
    PUBLISHED_KEY_TEXT,
    check_keys,
    is_published_secret,
    to_bytes,
)
from proxy.settings.schema import Settings
from proxy.settings.sources import Problem
from proxy.settings.value_checks import is_loopback_host, parse_listen


def check_settings(
    settings: Settings, *, for_edge: bool, file: Path | None = None
) -> Iterator[Problem]:
    """Yield the errors of settings whose values are valid on their own.

    Args:
        settings: the settings, with defaults in place of invalid values.
        for_edge: whether to require the settings that an edge needs; `playgate videos` needs fewer.
        file: the settings file, whose permissions are checked; None if there is no file.
    """
    platform, tokens = settings.platform, settings.tokens
    required = {"api_key": platform.api_key, "api_secret": platform.api_secret.get_secret_value()}
    for name, value in required.items() if for_edge else ():
        if not value:
            state = "is empty" if name in platform.model_fields_set else "is not set"
            problem = f"{state}, but required; create an API key in Dailymotion Studio"
            yield f"platform.{name}", problem
    yield from (_check_sandbox(settings) if settings.sandbox else _check_production(settings, file))
    if tokens.default_ttl > tokens.max_ttl:
        limit = f"must not exceed tokens.max_ttl ({tokens.max_ttl})"
        yield "tokens.default_ttl", f"is {tokens.default_ttl}, but {limit}"
    yield from check_keys(settings, for_edge=for_edge)
    yield from _check_account(settings)
    yield from _check_egress(settings)
    listen = settings.web.listen
    if listen == settings.operator.listen and not listen.endswith(":0"):
        yield "operator.listen", "must differ from web.listen; players must not reach this port"


def _list_urls(settings: Settings) -> dict[str, str]:
    """Return the URLs of Dailymotion's APIs, by setting; empty if not set."""
    urls = {
        "platform.token_url": settings.platform.token_url,
        "platform.rest_url": settings.platform.rest_url,
    }
    if settings.videos.api_key or not settings.sandbox:
        urls["videos.token_url"] = settings.videos.token_url
        urls["videos.rest_url"] = settings.videos.rest_url
    return urls


def _check_sandbox(settings: Settings) -> Iterator[Problem]:
    listeners = {"web.listen": settings.web.listen, "operator.listen": settings.operator.listen}
    for name, listen in listeners.items():
        if not parse_listen(listen).is_loopback:
            yield name, NOT_LOOPBACK_TEXT
    for name, url in _list_urls(settings).items():
        if not is_loopback_host(URL(url).host or ""):
            yield name, NOT_LOOPBACK_TEXT


def _check_production(settings: Settings, file: Path | None) -> Iterator[Problem]:
    for name, url in {**_list_urls(settings), "web.public_url": settings.web.public_url}.items():
        if url.lower().startswith("http:"):
            yield name, NOT_HTTPS_TEXT
    if is_published_secret(to_bytes(settings.operator.key)):
        yield "operator.key", f"is {PUBLISHED_KEY_TEXT}"
    yield from find_writable_files(settings, file)


def _check_account(settings: Settings) -> Iterator[Problem]:
    platform, videos = settings.platform, settings.videos
    if platform.api == "v2" and platform.grant != "client_credentials":
        yield (
            "platform.grant",
            'must be "client_credentials" if platform.api = "v2": API v2 accepts only private keys',
        )
    for table, account in (("platform", platform), ("videos", videos)):
        if account.grant == "password":
            password = account.password.get_secret_value()
            for name, value in (("username", account.username), ("password", password)):
                if not value:
                    yield (
                        f"{table}.{name}",
                        f'is not set, but required by {table}.grant = "password"',
                    )
    if platform.grant == "authorization_code" and not platform.login_file:
        yield (
            "platform.login_file",
            (
                'is not set, but required by platform.grant = "authorization_code"; '
                "set the path of the file in which playgate login stores the refresh token"
            ),
        )
    if videos.api_key and videos.api_key == platform.api_key:
        yield (
            "videos.api_key",
            (
                "must differ from platform.api_key; otherwise, an attacker who controls the edge "
                "could delete videos"
            ),
        )
    if videos.api_key and not videos.api_secret.get_secret_value():
        yield "videos.api_secret", "is not set, but required by videos.api_key"


def _check_egress(settings: Settings) -> Iterator[Problem]:
    address, family = parse_address(settings.platform.egress_ip), settings.platform.address_family
    if address is None:
        return
    if family != f"ipv{address.version}":
        text = f'must be an {family} address, since platform.address_family = "{family}"'
        yield "platform.egress_ip", text
    if not is_public(address) and not settings.sandbox:
        text = "must be a public address: the address of this edge that the CDN sees"
        yield "platform.egress_ip", text


def find_warnings(settings: Settings, file: Path | None) -> Iterator[Problem]:
    """Yield each setting that is valid but risky, with the risk and how to avoid it."""
    operator = parse_listen(settings.operator.listen)
    if not operator.is_loopback:
        yield (
            "operator.listen",
            (
                f"{operator} can be reached from other machines; let a firewall admit only your "
                "proxies and Prometheus, or listen on 127.0.0.1"
            ),
        )
    web = parse_listen(settings.web.listen)
    proxies = settings.viewer.trusted_proxies
    has_local_proxies = all(ip_network(proxy, strict=False).is_loopback for proxy in proxies)
    if not web.is_loopback and has_local_proxies:
        yield (
            "web.listen",
            (
                f"{web} is plain http and receives tokens in URLs; put a TLS proxy in front, and "
                "list its address in viewer.trusted_proxies"
            ),
        )
    if not settings.sandbox:
        yield from find_readable_files(settings, file)
        yield from find_writable_folders(settings, file)
