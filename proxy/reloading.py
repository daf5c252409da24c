"""Reload settings and keys while the edge runs: on SIGHUP, and when a file changes.

A reload applies completely or not at all. If the new settings are invalid, the edge keeps the old
ones and reports the problems in the log, in a metric and in /readyz. In-flight requests keep the
services they started with.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from proxy.adapters.errors import INTERNAL_ERROR
from proxy.adapters.telemetry import SettingsStatus
from proxy.app import Apps, build_services
from proxy.settings import Settings, SettingsInvalid
from proxy.settings.settings_diff import keep_restart_settings, list_changed_names
from proxy.settings.sources import list_secret_files

POLL_SECONDS = 1.0
# A file that changed less than this before it was read may change again with the same timestamp.
MTIME_RESOLUTION_NS = 100_000_000

# Per file: path, inode, size, and the time when the file, or the link to it, last changed.
Fingerprint = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsSource:
    """The source of an edge's settings, and the time at which loading began."""

    load: Callable[[], Settings]
    path: Path | None
    began_at: float  # when the first load of the settings began, in seconds since 1970


class SettingsReloader:
    """Reloads the settings of a running edge when their files change."""

    def __init__(self, apps: Apps, settings: Settings, source: SettingsSource) -> None:
        """Reload the settings of `apps`, which currently run with `settings`."""
        self._apps = apps
        self._settings = settings
        self._source = source
        self._telemetry = apps.process.telemetry
        self._reload_requested = asyncio.Event()
        self._loaded = self._fingerprint_if_unchanged(source.began_at)
        self._kids = self._list_kids()
        self._record_status(SettingsStatus(loaded_at=self._telemetry.clock.now()))

    def request_reload(self) -> None:
        """Request a reload even if no file has changed (SIGHUP)."""
        self._reload_requested.set()

    async def watch(self) -> None:
        """Reload the settings on request and after a file has changed; run until cancelled.

        A changed file is read only after it has stayed the same between two polls, so that the edge
        does not read a file that is half written.
        """
        before = self._fingerprint_files()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._reload_requested.wait()
            try:
                before = await self._reload_if_needed(before)
            except Exception:  # a bug; it must not end this loop
                self._telemetry.log.exception("internal", task="reload")

    async def _reload_if_needed(self, before: Fingerprint) -> Fingerprint:
        current = self._fingerprint_files()
        if self._reload_requested.is_set() or (current != self._loaded and current == before):
            self._reload_requested.clear()
            await self._reload_and_log()
        elif self._telemetry.health.settings_status.problems:
            await self._reload_and_log()  # the problem may be fixed in a file that is not polled
        elif self._list_kids() != self._kids:  # a key has expired
            self._apply(self._settings)
        return current

    async def _reload_and_log(self) -> None:
        began_at = time.time()
        try:
            await self._reload()
        except SettingsInvalid as invalid:
            self._record_failure([f"{name}: {text}" for name, text in invalid.problems])
        except Exception:  # a bug; the edge keeps its settings
            self._telemetry.log.exception("internal", task="reload")
            self._record_failure([INTERNAL_ERROR])
        self._loaded = self._fingerprint_if_unchanged(began_at)

    async def _reload(self) -> None:
        new = await asyncio.to_thread(self._source.load)
        if new.sandbox != self._settings.sandbox:
            # `sandbox` relaxes the rules of other settings, and enables keys that are public.
            problem = "sandbox", "cannot change while the edge runs; restart the edge"
            raise SettingsInvalid([problem], source=self._source.path)
        usable = keep_restart_settings(self._settings, new)
        self._apply(usable)
        applied = list_changed_names(self._settings, usable)
        need_restart = list_changed_names(usable, new)
        self._settings = usable
        self._telemetry.log.info(
            "reloaded", changed=applied, need_restart=need_restart, keys=self._kids
        )
        self._record_status(
            SettingsStatus(loaded_at=self._telemetry.clock.now(), need_restart=tuple(need_restart))
        )

    def _apply(self, settings: Settings) -> None:
        process = self._apps.process
        services, longest = build_services(settings, process), settings.validity_limit
        # Nothing below can fail, so the settings are applied completely.
        process.issuers.trust(settings.tokens.issuer_urls)
        process.revocations.longest = longest
        self._apps.services_ref.services = services
        self._kids = self._list_kids(settings)

    def _record_failure(self, problems: list[str]) -> None:
        if tuple(problems) != self._telemetry.health.settings_status.problems:
            self._telemetry.log.warning("reload-failed", problems=problems)
        self._record_status(
            replace(self._telemetry.health.settings_status, problems=tuple(problems))
        )

    def _record_status(self, status: SettingsStatus) -> None:
        self._telemetry.health.settings_status = status
        metrics = self._telemetry.metrics.settings
        metrics.reload_successful.set(not status.problems)
        metrics.reload_success_time.set(status.loaded_at)

    def _list_kids(self, settings: Settings | None = None) -> tuple[str, ...]:
        tokens = (settings or self._settings).tokens
        return tuple(key.kid for key in tokens.list_keys(self._telemetry.clock.now()))

    def _fingerprint_if_unchanged(self, began_at: float) -> Fingerprint | None:
        """Return the files' fingerprint, or None if a file may have changed since `began_at`."""
        current = self._fingerprint_files()
        newest = max((changed for _, _, _, changed in current), default=0)
        return None if newest > began_at * 1e9 - MTIME_RESOLUTION_NS else current

    def _fingerprint_files(self) -> Fingerprint:
        return tuple(_fingerprint_file(path) for path in self._list_files())

    def _list_files(self) -> Iterator[Path]:
        tokens, relay = self._settings.tokens, self._settings.relay
        if self._source.path is not None:
            yield self._source.path
        yield from list_secret_files()
        if tokens.jwks_file:
            yield Path(tokens.jwks_file)
        yield from (key.file for key in tokens.keys if key.file is not None)
        yield from (key.file for key in relay.keys if key.file is not None)


def _fingerprint_file(path: Path) -> tuple[str, int, int, int]:
    try:
        file, link = path.stat(), path.lstat()
    except OSError:
        return str(path), 0, 0, 0
    # ctime, because a file that is moved into place keeps its mtime.
    return str(path), file.st_ino, file.st_size, max(file.st_ctime_ns, link.st_ctime_ns)
