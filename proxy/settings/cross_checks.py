"""Rules across settings: errors and warnings."""

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
from proxy.settings.key_checks import check_keys, is_published_secret, to_bytes
from proxy.settings.schema import Settings
from proxy.settings.sources import Problem
from proxy.settings.value_checks import is_loopback_host, parse_listen


def check_settings(
    settings: Settings, *, for_edge: bool, file: Path | None = None
) -> Iterator[Problem]:
    """Yield what is wrong between settings, each of them good by itself.

    Without `for_edge`, what only an edge needs may be missing: managing videos takes less.
    """
    platform, tokens = settings.platform, settings.tokens
    needed = {"api_key": platform.api_key, "api_secret": platform.api_secret.get_secret_value()}
    for name, value in needed.items() if for_edge else ():
        if not value:
            state = "is empty" if name in platform.model_fields_set else "is not set"
            yield f"platform.{name}", f"{state}, and there is no default for it"
    yield from (_check_sandbox(settings) if settings.sandbox else _check_production(settings, file))
    if tokens.default_ttl > tokens.max_ttl:
        most = f"must not be more than tokens.max_ttl, which is {tokens.max_ttl}"
        yield "tokens.default_ttl", f"is {tokens.default_ttl}, and {most}"
    yield from check_keys(settings, for_edge=for_edge)
    yield from _check_account(settings)
    yield from _check_egress(settings)
    listen = settings.web.listen
    if listen == settings.operator.listen and not listen.endswith(":0"):
        yield "operator.listen", "must differ from web.listen: players must not reach it"


def _list_urls(settings: Settings) -> dict[str, str]:
    """Return where Dailymotion's APIs are, as far as it is set."""
    urls = {
        "platform.token_url": settings.platform.token_url,
        "platform.rest_url": settings.platform.rest_url,
    }
    if settings.videos.api_key or not settings.sandbox:
        urls["videos.token_url"] = settings.videos.token_url
        urls["videos.rest_url"] = settings.videos.rest_url
    return urls


def _check_sandbox(settings: Settings) -> Iterator[Problem]:
    text = "must be on loopback while sandbox = true"
    listeners = {"web.listen": settings.web.listen, "operator.listen": settings.operator.listen}
    for name, listen in listeners.items():
        if not parse_listen(listen).is_loopback:
            yield name, text
    for name, url in _list_urls(settings).items():
        if not is_loopback_host(URL(url).host or ""):
            yield name, text


def _check_production(settings: Settings, file: Path | None) -> Iterator[Problem]:
    for name, url in {**_list_urls(settings), "web.public_url": settings.web.public_url}.items():
        if url.lower().startswith("http:"):
            yield name, "must be https, unless sandbox = true"
    if is_published_secret(to_bytes(settings.operator.key)):
        yield "operator.key", "is the published sandbox key, which everybody knows"
    yield from find_writable_files(settings, file)


def _check_account(settings: Settings) -> Iterator[Problem]:
    platform, videos = settings.platform, settings.videos
    if platform.api == "v2" and platform.grant != "client_credentials":
        yield "platform.grant", "must be client_credentials for API v2, which has private keys only"
    for table, account in (("platform", platform), ("videos", videos)):
        if account.grant == "password":
            given = {"username": account.username, "password": account.password.get_secret_value()}
            for name, value in given.items():
                if not value:
                    yield f"{table}.{name}", f'is needed for {table}.grant = "password"'
    if platform.grant == "authorization_code" and not platform.login_file:
        yield (
            "platform.login_file",
            'is needed for platform.grant = "authorization_code": playgate login keeps it there',
        )
    if videos.api_key and videos.api_key == platform.api_key:
        yield (
            "videos.api_key",
            "must be another key than the edge's: who takes over the edge could delete videos",
        )
    if videos.api_key and not videos.api_secret.get_secret_value():
        yield "videos.api_secret", "is not set, though videos.api_key is"


def _check_egress(settings: Settings) -> Iterator[Problem]:
    address, family = parse_address(settings.platform.egress_ip), settings.platform.address_family
    if address is None:
        return
    if family != f"ipv{address.version}":
        yield "platform.egress_ip", f"must be of platform.address_family, {family}"
    if not is_public(address) and not settings.sandbox:
        yield "platform.egress_ip", "must be a public address: it is what the CDN sees"


def find_warnings(settings: Settings, file: Path | None) -> Iterator[Problem]:
    """Yield each setting to think about again, and why."""
    operator = parse_listen(settings.operator.listen)
    if not operator.is_loopback:
        yield (
            "operator.listen",
            (
                f"{operator} can be reached from other machines: let a firewall admit only your "
                "proxies and Prometheus, or listen on 127.0.0.1"
            ),
        )
    web = parse_listen(settings.web.listen)
    proxies = settings.viewer.trusted_proxies
    if not web.is_loopback and all(ip_network(it, strict=False).is_loopback for it in proxies):
        yield (
            "web.listen",
            (
                f"{web} is plain http, and tokens travel in its URLs: put a proxy that does TLS in "
                "front, and name it in viewer.trusted_proxies"
            ),
        )
    if not settings.sandbox:
        yield from find_readable_files(settings, file)
        yield from find_writable_folders(settings, file)
