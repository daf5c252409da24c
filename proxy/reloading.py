"""New settings and keys for an edge that runs: on SIGHUP, and when a file changes.

All of it or nothing: what cannot be used leaves the edge as it is, and is said in the log, in a
metric and in /readyz. Requests are answered with what there was when they came.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from proxy.adapters.telemetry import SettingsStatus
from proxy.app import Apps, build_services
from proxy.settings import Settings, SettingsInvalid
from proxy.settings.settings_diff import keep_restart_settings, list_changed_names
from proxy.settings.sources import list_secret_files

POLL_SECONDS = 1.0
MTIME_RESOLUTION_NS = (
    100_000_000  # a file that changed so shortly before it was read may have changed since
)

# Of each file: path, inode, size, and when it, or the link to it, changed.
Fingerprint = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsSource:
    """Where settings come from."""

    load: Callable[[], Settings]
    path: Path | None
    began_at: float  # when those that the edge starts with began to be read, in seconds since 1970


class SettingsReloader:
    """Keeps an edge in step with its files."""

    def __init__(self, apps: Apps, settings: Settings, source: SettingsSource) -> None:
        """Take what runs, and the settings that it runs with."""
        self._apps = apps
        self._settings = settings
        self._source = source
        self._telemetry = apps.process.telemetry
        self._asked = asyncio.Event()
        self._loaded = self._fingerprint_if_unchanged(source.began_at)
        self._keys = self._are_keys_current()
        self._record_status(SettingsStatus(loaded_at=self._telemetry.clock.now()))

    def request_reload(self) -> None:
        """Have the settings loaded again, changed or not (SIGHUP)."""
        self._asked.set()

    async def watch(self) -> None:
        """Load the settings again whenever that is asked for, or a file has changed; for ever.

        A file is read once it has stopped changing, so that none is read half written.
        """
        before = self._fingerprint_files()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._asked.wait()
            try:
                before = await self._has_changed_since(before)
            except Exception:  # a bug: it must not end the watching
                self._telemetry.log.exception("internal", task="reload")

    async def _has_changed_since(self, before: Fingerprint) -> Fingerprint:
        seen = self._fingerprint_files()
        if self._asked.is_set() or (seen != self._loaded and seen == before):
            self._asked.clear()
            await self._reload_and_log()
        elif self._telemetry.health.settings_status.problems:
            await self._reload_and_log()  # what was missing may be in a file that nobody told us of
        elif self._are_keys_current() != self._keys:  # one of them has lapsed
            self._apply(self._settings)
        return seen

    async def _reload_and_log(self) -> None:
        began_at = time.time()
        try:
            await self._reload()
        except SettingsInvalid as invalid:
            self._record_failure([f"{name}: {text}" for name, text in invalid.problems])
        except Exception:  # a bug: the edge goes on as it is
            self._telemetry.log.exception("internal", task="reload")
            self._record_failure(["internal"])
        self._loaded = self._fingerprint_if_unchanged(began_at)

    async def _reload(self) -> None:
        new = await asyncio.to_thread(self._source.load)
        if new.sandbox != self._settings.sandbox:
            # With it go rules about all others, and keys that everybody knows.
            raise SettingsInvalid([("sandbox", "takes a restart")], source=self._source.path)
        usable = keep_restart_settings(self._settings, new)
        self._apply(usable)
        taken = list_changed_names(self._settings, usable)
        left = list_changed_names(usable, new)
        self._settings = usable
        self._telemetry.log.info("reloaded", changed=taken, need_restart=left, keys=self._keys)
        self._record_status(
            SettingsStatus(loaded_at=self._telemetry.clock.now(), need_restart=tuple(left))
        )

    def _apply(self, settings: Settings) -> None:
        process = self._apps.process
        services, longest = build_services(settings, process), settings.validity_limit
        # From here on nothing can fail.
        process.issuers.trust(settings.tokens.issuer_urls)
        process.revocations.longest = longest
        self._apps.services_ref.services = services
        self._keys = self._are_keys_current(settings)

    def _record_failure(self, problems: list[str]) -> None:
        if tuple(problems) != self._telemetry.health.settings_status.problems:
            self._telemetry.log.warning("reload-failed", problems=problems)
        self._record_status(
            replace(self._telemetry.health.settings_status, problems=tuple(problems))
        )

    def _record_status(self, loaded: SettingsStatus) -> None:
        self._telemetry.health.settings_status = loaded
        metrics = self._telemetry.metrics.settings
        metrics.reload_successful.set(not loaded.problems)
        metrics.reload_success_time.set(loaded.loaded_at)

    def _are_keys_current(self, settings: Settings | None = None) -> tuple[str, ...]:
        tokens = (settings or self._settings).tokens
        return tuple(key.kid for key in tokens.list_keys(self._telemetry.clock.now()))

    def _fingerprint_if_unchanged(self, began_at: float) -> Fingerprint | None:
        """Return the files as they were read; None where one may have changed in between."""
        seen = self._fingerprint_files()
        newest = max((changed for _, _, _, changed in seen), default=0)
        return None if newest > began_at * 1e9 - MTIME_RESOLUTION_NS else seen

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
    # Not when its content changed: a file that is moved to its place keeps that.
    return str(path), file.st_ino, file.st_size, max(file.st_ctime_ns, link.st_ctime_ns)
