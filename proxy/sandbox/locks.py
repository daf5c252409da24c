"""Stream URLs that work for one address, and only for a while: the CDN's `sec`."""

import json

from cryptography.fernet import Fernet, InvalidToken

ANY_ADDRESS = "*"


class LockError(Exception):
    """The CDN does not answer; the text says why, which the real one never does."""


class Locks:
    """Seals an address and a video into the opaque text of a URL, and opens it again.

    The key lives as long as the process, so a restarted sandbox honours none of its old URLs.
    """

    def __init__(self, *, ttl: float) -> None:
        self._fernet = Fernet(Fernet.generate_key())
        self.ttl = ttl

    def seal(self, video: str, address: str, *, now: float, expires: bool = True) -> str:
        """Return `sec` for a video and the one address that may use it; EVERYBODY is all."""
        text = json.dumps([video, address, expires]).encode()
        return self._fernet.encrypt_at_time(text, int(now)).decode()

    def check(self, sec: str, *, video: str, address: str, now: float) -> None:
        """Raise Locked unless `sec` was made for this video and address, lately enough."""
        try:
            made_for = json.loads(self._fernet.decrypt(sec.encode()))
            made_at = self._fernet.extract_timestamp(sec.encode())
        except InvalidToken:
            raise LockError("sec is not one of ours") from None
        made_for_video, made_for_address, lapses = made_for
        if made_for_video != video or made_for_address not in {address, ANY_ADDRESS}:
            raise LockError(f"made for {made_for_address}, asked for by {address}")
        if lapses and now - made_at > self.ttl:
            raise LockError(f"made {now - made_at:.0f} s ago, good for {self.ttl:.0f} s")
