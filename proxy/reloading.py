"""New settings and keys for an edge that runs: on SIGHUP, and when a file changes.

All of it or nothing: what cannot be used leaves the edge as it is, and is said in the log, in a
metric and in /readyz. Requests are answered with what there was when they came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from proxy.app import Apps
from proxy.edge.health import Loaded
from proxy.settings import Settings, SettingsInvalid
from proxy.settings.restart import changed_names, without_restart
from proxy.settings.sources import secrets_folder
from proxy.wiring.edge import build_services
from proxy.wiring.state import retention_of

POLL_SECONDS = 1.0

Load = Callable[[], Settings]
Print = tuple[tuple[str, int, int, int], ...]  # path, inode, size, and when it was changed


class Reloading:
    """Keeps an edge in step with its files."""

    def __init__(self, apps: Apps, settings: Settings, load: Load, path: Path | None) -> None:
        """Take what runs, the settings that it runs with, and how and from where to load others."""
        self._apps = apps
        self._settings = settings
        self._load = load
        self._path = path
        self._instruments = apps.parts.instruments
        self._asked = asyncio.Event()
        self._note(Loaded(at=self._instruments.clock.now()))

    def ask(self) -> None:
        """Have the settings loaded again, changed or not (SIGHUP)."""
        self._asked.set()

    async def watch(self) -> None:
        """Load the settings again whenever that is asked for, or a file has changed; for ever.

        A file is read once it has stopped changing, so that none is read half written.
        """
        loaded = before = self._print()
        keys = self._keys()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._asked.wait()
            seen = self._print()
            if self._asked.is_set() or (seen != loaded and seen == before):
                self._asked.clear()
                await self._reload()
                loaded, keys = self._print(), self._keys()
            elif self._keys() != keys:  # one of them has lapsed
                self._apply(self._settings)
                keys = self._keys()
            before = seen

    async def _reload(self) -> None:
        try:
            new = await asyncio.to_thread(self._load)
            usable = without_restart(self._settings, new)
            self._apply(usable)
        except SettingsInvalid as invalid:
            self._failed([f"{name}: {text}" for name, text in invalid.problems])
            return
        except Exception:  # a bug: the edge goes on as it is
            self._instruments.log.exception("internal", task="reload")
            self._failed(["internal"])
            return
        taken = changed_names(self._settings, usable)
        left = changed_names(usable, new)
        self._settings = usable
        kids, _ = self._keys()
        self._instruments.log.info("reloaded", changed=taken, need_restart=left, keys=kids)
        self._note(Loaded(at=self._instruments.clock.now(), need_restart=tuple(left)))

    def _failed(self, problems: list[str]) -> None:
        self._instruments.log.warning("reload-failed", problems=problems)
        self._note(replace(self._instruments.health.loaded, problems=tuple(problems)))

    def _apply(self, settings: Settings) -> None:
        """Put all of it in place; up to the last line, nothing has changed."""
        services = build_services(settings, self._apps.parts)
        retention = retention_of(settings, self._instruments.clock.now())
        self._apps.parts.issuers.trust(
            {entry.issuer: entry.jwks_url for entry in settings.tokens.issuers}
        )
        self._apps.parts.shared.revocations.keep_for(retention, settings.tokens.leeway)
        self._apps.current.services = services

    def _note(self, loaded: Loaded) -> None:
        self._instruments.health.loaded = loaded
        metrics = self._instruments.metrics
        metrics.reload_successful.set(not loaded.problems)
        metrics.reload_success_time.set(loaded.at)

    def _keys(self) -> tuple[tuple[str, ...], int]:
        now = self._instruments.clock.now()
        kids = tuple(key.kid for key in self._settings.tokens.keys_at(now))
        return kids, len(self._settings.seal_secrets(now))

    def _print(self) -> Print:
        return tuple(_printed(path) for path in self._files())

    def _files(self) -> Iterator[Path]:
        tokens, relay = self._settings.tokens, self._settings.relay
        if self._path is not None:
            yield self._path
        if (folder := secrets_folder()) is not None:
            with suppress(OSError):
                yield from sorted(Path(folder).iterdir())
        if tokens.jwks_file:
            yield Path(tokens.jwks_file)
        yield from (key.file for key in tokens.keys if key.file is not None)
        yield from (key.file for key in relay.keys if key.file is not None)


def _printed(path: Path) -> tuple[str, int, int, int]:
    """Return what tells a file from what it was; a link is followed."""
    try:
        status = path.stat()
    except OSError:
        return str(path), 0, 0, 0
    return str(path), status.st_ino, status.st_size, status.st_mtime_ns
