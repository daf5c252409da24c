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

from proxy.adapters.telemetry import Loaded
from proxy.app import Apps, build_services
from proxy.settings import Settings, SettingsInvalid
from proxy.settings.comparing import changed_names, without_restart
from proxy.settings.sources import secret_files

POLL_SECONDS = 1.0
GRAIN_NS = 100_000_000  # a file that changed so shortly before it was read may have changed since

# Of each file: path, inode, size, and when it, or the link to it, changed.
Fingerprint = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where settings come from."""

    load: Callable[[], Settings]
    path: Path | None
    began_at: float  # when those that the edge starts with began to be read, in seconds since 1970


class Reloading:
    """Keeps an edge in step with its files."""

    def __init__(self, apps: Apps, settings: Settings, source: Source) -> None:
        """Take what runs, and the settings that it runs with."""
        self._apps = apps
        self._settings = settings
        self._source = source
        self._telemetry = apps.process.telemetry
        self._asked = asyncio.Event()
        self._loaded = self._unchanged_since(source.began_at)
        self._keys = self._keys_in_use()
        self._note(Loaded(at=self._telemetry.clock.now()))

    def ask(self) -> None:
        """Have the settings loaded again, changed or not (SIGHUP)."""
        self._asked.set()

    async def watch(self) -> None:
        """Load the settings again whenever that is asked for, or a file has changed; for ever.

        A file is read once it has stopped changing, so that none is read half written.
        """
        before = self._fingerprint()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._asked.wait()
            try:
                before = await self._look(before)
            except Exception:  # a bug: it must not end the watching
                self._telemetry.log.exception("internal", task="reload")

    async def _look(self, before: Fingerprint) -> Fingerprint:
        seen = self._fingerprint()
        if self._asked.is_set() or (seen != self._loaded and seen == before):
            self._asked.clear()
            await self._try()
        elif self._telemetry.health.loaded.problems:
            await self._try()  # what was missing may be in a file that nobody told us of
        elif self._keys_in_use() != self._keys:  # one of them has lapsed
            self._apply(self._settings)
        return seen

    async def _try(self) -> None:
        began_at = time.time()
        try:
            await self._reload()
        except SettingsInvalid as invalid:
            self._failed([f"{name}: {text}" for name, text in invalid.problems])
        except Exception:  # a bug: the edge goes on as it is
            self._telemetry.log.exception("internal", task="reload")
            self._failed(["internal"])
        self._loaded = self._unchanged_since(began_at)

    async def _reload(self) -> None:
        new = await asyncio.to_thread(self._source.load)
        if new.sandbox != self._settings.sandbox:
            # With it go rules about all others, and keys that everybody knows.
            raise SettingsInvalid([("sandbox", "takes a restart")], source=self._source.path)
        usable = without_restart(self._settings, new)
        self._apply(usable)
        taken = changed_names(self._settings, usable)
        left = changed_names(usable, new)
        self._settings = usable
        self._telemetry.log.info("reloaded", changed=taken, need_restart=left, keys=self._keys)
        self._note(Loaded(at=self._telemetry.clock.now(), need_restart=tuple(left)))

    def _apply(self, settings: Settings) -> None:
        process = self._apps.process
        services, longest = build_services(settings, process), settings.longest
        # From here on nothing can fail.
        process.issuers.trust(settings.tokens.issuer_urls)
        process.revocations.longest = longest
        self._apps.current.services = services
        self._keys = self._keys_in_use(settings)

    def _failed(self, problems: list[str]) -> None:
        if tuple(problems) != self._telemetry.health.loaded.problems:
            self._telemetry.log.warning("reload-failed", problems=problems)
        self._note(replace(self._telemetry.health.loaded, problems=tuple(problems)))

    def _note(self, loaded: Loaded) -> None:
        self._telemetry.health.loaded = loaded
        metrics = self._telemetry.metrics.settings
        metrics.reload_successful.set(not loaded.problems)
        metrics.reload_success_time.set(loaded.at)

    def _keys_in_use(self, settings: Settings | None = None) -> tuple[str, ...]:
        tokens = (settings or self._settings).tokens
        return tuple(key.kid for key in tokens.keys_at(self._telemetry.clock.now()))

    def _unchanged_since(self, began_at: float) -> Fingerprint | None:
        """Return the files as they were read; None where one may have changed in between."""
        seen = self._fingerprint()
        newest = max((changed for _, _, _, changed in seen), default=0)
        return None if newest > began_at * 1e9 - GRAIN_NS else seen

    def _fingerprint(self) -> Fingerprint:
        return tuple(_fingerprint_of(path) for path in self._files())

    def _files(self) -> Iterator[Path]:
        tokens, relay = self._settings.tokens, self._settings.relay
        if self._source.path is not None:
            yield self._source.path
        yield from secret_files()
        if tokens.jwks_file:
            yield Path(tokens.jwks_file)
        yield from (key.file for key in tokens.keys if key.file is not None)
        yield from (key.file for key in relay.keys if key.file is not None)


def _fingerprint_of(path: Path) -> tuple[str, int, int, int]:
    try:
        file, link = path.stat(), path.lstat()
    except OSError:
        return str(path), 0, 0, 0
    # Not when its content changed: a file that is moved to its place keeps that.
    return str(path), file.st_ino, file.st_size, max(file.st_ctime_ns, link.st_ctime_ns)
