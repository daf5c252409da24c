"""The CDN's `sec` parameter, which locks a stream URL to one address and expires."""

import json

from cryptography.fernet import Fernet, InvalidToken

ANY_ADDRESS = "*"


class LockError(Exception):
    """The CDN refuses a URL. The message says why; the real CDN gives no reason."""


class Locks:
    """Creates and checks `sec`, the encrypted video ID and viewer address of a stream URL.

    The encryption key is generated at start, so URLs do not survive a restart of the sandbox.

    Args:
        ttl: lifetime of a URL, in seconds.
    """

    def __init__(self, *, ttl: float) -> None:
        self._fernet = Fernet(Fernet.generate_key())
        self.ttl = ttl

    def seal(self, video: str, address: str, *, now: float, expires: bool = True) -> str:
        """Return a `sec` for a video and one address; ANY_ADDRESS allows every address."""
        text = json.dumps([video, address, expires]).encode()
        return self._fernet.encrypt_at_time(text, int(now)).decode()

    def check(self, sec: str, *, video: str, address: str, now: float) -> None:
        """Check that `sec` belongs to this video and address and has not expired.

        Raises:
            LockError: `sec` is invalid, expired, or locked to another video or address.
        """
        try:
            sealed = json.loads(self._fernet.decrypt(sec.encode()))
            sealed_at = self._fernet.extract_timestamp(sec.encode())
        except InvalidToken:
            raise LockError("sec was not issued by this sandbox") from None
        sealed_video, sealed_address, expires = sealed
        if sealed_video != video or sealed_address not in {address, ANY_ADDRESS}:
            raise LockError(
                f"locked to video {sealed_video} and {sealed_address}, requested for video {video} "
                f"by {address}"
            )
        if expires and now - sealed_at > self.ttl:
            raise LockError(
                f"expired: issued {now - sealed_at:.0f} s ago, valid for {self.ttl:.0f} s"
            )
