"""The edge of these tests relays every video."""

import pytest
from support import run_test_edge
from web.relay.relay_edge import RELAY


@pytest.fixture
async def edge(sandbox):
    async with run_test_edge(sandbox, **RELAY) as running:
        yield running
