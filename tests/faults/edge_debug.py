"""Run Playgate with a debug socket: `python -m faults.edge_debug SOCKET serve …`.

A client of the Unix socket gets the names of the running tasks, which no metric shows. The orders
`fill` and `restore` redirect the log to a full disk and back.
"""

import asyncio
import json
import os
import sys
from typing import Any

from proxy.cli import main, serve

LOG = sys.stdout.fileno()
ORIGINAL_LOG = os.dup(LOG)
FULL_DISK = os.open("/dev/full", os.O_WRONLY)

LOG_BY_ORDER = {"fill": FULL_DISK, "restore": ORIGINAL_LOG}


async def handle_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Run the client's command, if it sent one; then send the names of all other tasks as JSON."""
    order = (await reader.readline()).decode().strip()
    if order:
        os.dup2(LOG_BY_ORDER[order], LOG)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    names = sorted(task.get_coro().__qualname__ for task in others)
    writer.write(json.dumps(names).encode())
    await writer.drain()
    writer.close()


if __name__ == "__main__":
    socket, run = sys.argv.pop(1), serve.run

    async def run_with_debug_socket(*arguments: Any) -> None:
        async with await asyncio.start_unix_server(handle_client, socket):
            await run(*arguments)

    serve.run = run_with_debug_socket
    main()
