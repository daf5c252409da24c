"""The relay URLs of a session, and the resources that they lead to.

    /relay/{seal}/playlist.m3u8              a playlist; `list.json` for an asset list or steering
    /relay/{seal}/{proof}/{name}             a file in the playlist's folder, by its visible name
    /relay/{seal}/~{hidden}/{proof}/{name}   a file in another folder, or with a query
    /relay/{seal}/~{hidden}/{name}           a file whose URL may not be visible at all
    /relay/{seal}/file/{name}                the file that the seal itself names

A playlist names its files relative to its own relay URL, so it repeats neither seal nor session. A
*proof* shows that a relayed playlist contained the name: a MAC of the name itself or of its block,
or a sequence with its MAC (`child_names.py`).
"""

import re
from collections.abc import Mapping
from hmac import compare_digest
from typing import NamedTuple
from urllib.parse import unquote

from proxy.domain.seal import (
    OpenedSeal,
    SealKey,
    SealKeys,
    SealKind,
    Session,
    build_seal_refusal,
    digest_child,
)
from proxy.hls.child_names import (
    FILE_NAME,
    find_blocks,
    find_pattern,
    is_visible,
)
from proxy.hls.resolve import get_folder, resolve_uri

PLAYLIST_NAME, LIST_NAME = "playlist.m3u8", "list.json"
ANY_NAME = "file"  # of a file whose own name must not be visible
EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,4}\Z", re.ASCII)
PATH = re.compile(r"/relay/(?P<seal>[A-Za-z0-9_-]+)/(?P<rest>[A-Za-z0-9()=,~+:@!._/-]+)", re.ASCII)
# The last part is the visible name, which may contain slashes.
HIDDEN = re.compile(r"~(?P<hidden>[A-Za-z0-9_-]+)/(?P<rest>.+)", re.ASCII)
PROOF = re.compile(r"(?:(?P<sequence>[0-9.-]+)\.)?(?P<mac>[A-Za-z0-9_-]{6})/(?P<name>.+)", re.ASCII)

# What the file of a kind of seal is called.
FILE_NAMES: dict[SealKind, str] = {
    "playlist": PLAYLIST_NAME,
    "asset-list": LIST_NAME,
    "steering": LIST_NAME,
}


class SealedPlaylist(NamedTuple):
    """A playlist or a JSON list to fetch, for a session.

    Attributes:
        kind: what it is.
        seal: the seal in its relay URL.
        url: its URL at the CDN.
        variables: the variables of the playlist above it, for EXT-X-DEFINE with IMPORT.
        session: the session that it belongs to.
        key: the key that opened the seal, and seals the playlist's children.
    """

    kind: SealKind
    seal: str
    url: str
    variables: Mapping[str, str]
    session: Session
    key: SealKey


class SealedBytes(NamedTuple):
    """A segment, a key or any other file that is relayed unchanged, for a session."""

    url: str
    session: Session


def seal_playlist(
    key: SealKey, session: Session, url: str, variables: Mapping[str, str], kind: SealKind
) -> str:
    """Return the relay URL of a playlist or a JSON list."""
    return f"/relay/{key.seal(kind, session, [url, dict(variables)])}/{FILE_NAMES[kind]}"


def seal_file(key: SealKey, session: Session, url: str) -> str:
    """Return the relay URL of a file that belongs to no playlist, such as an MP4."""
    return f"/relay/{key.seal('file', session, [url, {}])}/file/{get_file_name(url)}"


def get_file_name(url: str) -> str:
    """Return the last part of a URL's path if it may be visible, else see `hide_file_name`."""
    last = url.partition("?")[0].rpartition("/")[2]
    return last if FILE_NAME.fullmatch(last) is not None else hide_file_name(url)


def hide_file_name(url: str) -> str:
    """Return `file` with the extension of a URL's path: some players play known ones only."""
    extension = EXTENSION.search(url.partition("?")[0])
    return f"{ANY_NAME}{extension[0] if extension is not None else ''}"


def open_playlist(raw_path: str, keys: SealKeys) -> SealedPlaylist:
    """Return the playlist that a relay URL leads to. Raises Refusal `seal-invalid`."""
    path = PATH.fullmatch(raw_path)
    if path is None or path["rest"] not in {PLAYLIST_NAME, LIST_NAME}:
        raise build_seal_refusal("not the path of a relayed playlist")
    opened = keys.open(path["seal"])
    if FILE_NAMES.get(opened.kind) != path["rest"]:
        raise build_seal_refusal(f"the seal is not for {path['rest']} (seal kind: {opened.kind})")
    url, variables = opened.content
    return SealedPlaylist(
        kind=opened.kind,
        seal=path["seal"],
        url=url,
        variables=variables,
        session=opened.session,
        key=opened.key,
    )


def open_bytes(raw_path: str, keys: SealKeys) -> SealedBytes:
    """Return the file that a relay URL leads to. Raises Refusal `seal-invalid`."""
    # Some clients encode characters such as ( and ), which is the same URL.
    path = PATH.fullmatch(unquote(raw_path) if "%" in raw_path else raw_path)
    if path is None:
        raise build_seal_refusal("not the path of a relayed file")
    opened = keys.open(path["seal"])
    if (url := _find_url(opened, path["seal"], path["rest"])) is None:
        raise build_seal_refusal(f"no relayed playlist contains this path (kind: {opened.kind})")
    return SealedBytes(url=url, session=opened.session)


def _find_url(opened: OpenedSeal, seal: str, rest: str) -> str | None:
    url: str = opened.content[0]
    if opened.kind == "file":
        return url if rest == f"file/{get_file_name(url)}" else None
    folder, query, place = get_folder(url), "", f"{seal}/"
    if (path := HIDDEN.fullmatch(rest)) is not None:
        match opened.key.reveal(seal, path["hidden"]):
            case [str(folder), str(query)]:
                place, rest = f"{seal}/~{path['hidden']}/", path["rest"]
            case str(reference):
                hidden_url = resolve_uri(url, reference)
                # Players that hold an older playlist use `file` without extension.
                names = {get_file_name(hidden_url), hide_file_name(hidden_url), ANY_NAME}
                is_named = path["rest"] in names
                return hidden_url if is_named else None
            case _:
                return None
    proof = PROOF.fullmatch(rest)
    if proof is None or not is_visible(proof["name"]):
        return None
    is_proven = _verify(opened.key, place, proof)
    return f"{folder}{proof['name']}{query}" if is_proven else None


def _verify(key: SealKey, place: str, proof: re.Match[str]) -> bool:
    """Return whether a proof shows that a playlist contained the name."""
    name, parameters = proof["name"], proof["sequence"]
    if parameters is not None:
        pattern = find_pattern(name, parameters)
        proven = [] if pattern is None else [describe_sequence(parameters, pattern)]
    else:
        proven = [name, *find_blocks([name])]
    macs = key.compute_macs(place, [digest_child(text) for text in proven])
    return any(compare_digest(mac, proof["mac"]) for mac in macs)


def describe_sequence(parameters: str, pattern: str) -> str:
    """Return the text whose MAC proves a sequence."""
    return f"{parameters}/{pattern}"
