"""Settings that work and are probably not meant."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from proxy.settings.file_modes import readable_files, writable_folders
from proxy.settings.listen import is_loopback_host, parse_listen
from proxy.settings.schema import Settings
from proxy.settings.sources import Problem


def warnings_about(settings: Settings, file: Path | None) -> Iterator[Problem]:
    """Yield each setting to think about again, and why.

    Args:
        settings: as they were loaded.
        file: from which file.
    """
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
    if not web.is_loopback and all(is_loopback_host(proxy) for proxy in proxies):
        yield (
            "web.listen",
            (
                f"{web} is plain http, and tokens travel in its URLs: put a proxy that does TLS in "
                "front, and name it in viewer.trusted_proxies"
            ),
        )
    if not settings.sandbox:
        yield from readable_files(settings, file)
        yield from writable_folders(settings, file)
