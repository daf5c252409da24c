"""What the sandbox's web pages use of the demo's edge: minting and explaining tokens."""

import json
import re
from typing import Any

from proxy.adapters.clock import Clock
from proxy.app import Apps, build_services
from proxy.cli import token_explanation
from proxy.domain.client_ip import parse_address, parse_network
from proxy.domain.reasons import Refusal
from proxy.edge.token_minter import TokenMinter
from proxy.sandbox.edge_tools import (
    EdgeRefused,
    ExplainedToken,
    ExplainForm,
    MintedLinks,
    MintForm,
    PortName,
)
from proxy.settings import Settings
from proxy.web.openapi import DOCUMENT


class DemoEdge:
    """Implements the sandbox pages' functions with the demo's settings and its running edge."""

    def __init__(self, settings: Settings, apps: Apps) -> None:
        """Use the settings and the applications of the running edge."""
        self._settings = settings
        self._apps = apps

    @property
    def urls(self) -> dict[PortName, str]:
        """The URLs of the player port and the operator port."""
        operator = f"http://{self._settings.operator.listen}"
        return {"player": self._settings.web.public_url, "operator": operator}

    def binds_on_first_use(self) -> bool:
        """Return whether tokens.bind_on_first_use is on."""
        return self._settings.tokens.bind_on_first_use

    def mint(self, form: MintForm) -> MintedLinks:
        """Mint a token and build its links.

        Raises:
            EdgeRefused: The form is invalid, or the token cannot be minted.
        """
        clock = Clock()
        if form.ttl and re.fullmatch(r"[0-9]{1,9}", form.ttl) is None:
            raise EdgeRefused("The lifetime must be a whole number of seconds.")
        try:
            network = parse_network(form.ip) if form.ip else None
        except ValueError:
            message = f"{form.ip!r} is neither an address nor a network such as 203.0.113.0/24."
            raise EdgeRefused(message) from None
        try:
            minted = TokenMinter(self._settings, clock).mint(
                video=form.video, ttl=int(form.ttl) if form.ttl else None, network=network
            )
        except Refusal as refusal:
            raise EdgeRefused(refusal.message) from None
        base = self._settings.web.public_url
        return MintedLinks(
            token=minted.token,
            play_url=minted.url or "",
            page_url=f"{base}/watch/{form.video}#{minted.token}",
            expires_in=int(form.ttl) if form.ttl else self._settings.tokens.default_ttl,
        )

    async def explain(self, form: ExplainForm) -> ExplainedToken:
        """Explain whether the edge accepts a token, and why.

        Raises:
            EdgeRefused: The viewer's address is invalid.
        """
        viewer = parse_address(form.ip) if form.ip else None
        if form.ip and viewer is None:
            raise EdgeRefused(f"{form.ip!r} is not an IP address.")
        explanation = await token_explanation.explain(
            self._settings,
            form.token,
            video=form.video or None,
            viewer=viewer,
            first_use=self._apps.process.first_use,
        )
        return ExplainedToken(
            content=explanation.content,
            checks=tuple(
                (result.status, result.check, result.text) for result in explanation.results
            ),
            conclusion=explanation.conclusion,
        )

    def describe(self, port: PortName) -> dict[str, Any]:
        """Return the OpenAPI document of a port's application."""
        app = self._apps.player if port == "player" else self._apps.operator
        document: dict[str, Any] = json.loads(app[DOCUMENT])
        return document

    def bind_on_first_use(self, *, is_on: bool) -> None:
        """Turn tokens.bind_on_first_use on or off in the running edge."""
        if is_on == self._settings.tokens.bind_on_first_use:
            return
        tokens = self._settings.tokens.model_copy(update={"bind_on_first_use": is_on})
        self._settings = self._settings.model_copy(update={"tokens": tokens})
        self._apps.services_ref.services = build_services(self._settings, self._apps.process)
