"""Find the lines of a playlist that the relay changes or drops."""

from proxy.domain.allowed_hosts import AllowedHosts
from proxy.domain.reasons import Refusal
from proxy.hls.document import ChangeKind
from proxy.hls.lint.findings import Finding, Findings
from proxy.hls.playlist_writer import is_playlist, run_to_end, write_playlist

RULES: dict[ChangeKind, str] = {
    "drops": "relay-drops",
    "changes": "relay-changes",
    "makes a gap of": "relay-gap",
}


class AnyHost(AllowedHosts):
    """Allows every URL, for a playlist whose edge is not known."""

    def __init__(self) -> None:
        super().__init__([], plain_http=True)

    def check(self, url: str) -> str:
        """Return the URL."""
        return url


def find_relay_changes(
    body: bytes, base: str = "", hosts: AllowedHosts | None = None
) -> tuple[Finding, ...]:
    """Return the lines of a playlist that the relay would change or drop.

    Args:
        body: as received.
        base: the URL of the playlist; empty for a file.
        hosts: the hosts that the edge allows; None allows all.
    """
    findings = Findings()
    if not is_playlist(body):
        return ()
    try:
        document = run_to_end(write_playlist(body, base=base, hosts=hosts or AnyHost()))
    except Refusal as refusal:
        findings.add("relay-refuses", None, why=refusal.detail)
        return findings.in_order()
    for change in document.changes:
        findings.add(RULES[change.kind], change.line)
    return findings.in_order()
