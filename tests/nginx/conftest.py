"""A fixture with nginx in front of two edges."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from nginx_server import BEHIND, Nginx, run_deployed_nginx
from support import RunningEdge, run_test_edge


@pytest.fixture
async def behind_nginx(
    component: Callable[[str], str], tmp_path: Path, sandbox: object
) -> AsyncIterator[tuple[Nginx, RunningEdge]]:
    """Run nginx in front of two edges; return nginx and the first edge."""
    program = component("nginx")
    async with AsyncExitStack() as stack:
        edges = [
            await stack.enter_async_context(run_test_edge(sandbox, **BEHIND)) for _ in range(2)
        ]
        nginx = await stack.enter_async_context(
            run_deployed_nginx(
                program,
                tmp_path,
                [edge.edge.player.port for edge in edges],
                [edge.edge.operator.port for edge in edges],
            )
        )
        yield nginx, edges[0]
