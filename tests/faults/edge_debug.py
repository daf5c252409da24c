"""Playgate, and a way in: `python -m faults.edge_debug SOCKET serve …`.

Whoever connects to the Unix socket is told the tasks there are: what no metric says, and the product
need not. Told to, it writes its log to a full disk, and back to where it was.
"""

import asyncio
import json
import os
import sys
from typing import Any

from proxy.cli import main, serve

LOG = sys.stdout.fileno()
KEPT = os.dup(LOG)
FULL = os.open("/dev/full", os.O_WRONLY)

ORDERS = {"fill": FULL, "mend": KEPT}  # where the log goes then


async def obey(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    order = (await reader.readline()).decode().strip()
    if order:
        os.dup2(ORDERS[order], LOG)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    names = sorted(task.get_coro().__qualname__ for task in others)
    writer.write(json.dumps(names).encode())
    await writer.drain()
    writer.close()


if __name__ == "__main__":
    socket, run = sys.argv.pop(1), serve.run

    async def run_watched(*arguments: Any) -> None:
        async with await asyncio.start_unix_server(obey, socket):
            await run(*arguments)

    serve.run = run_watched
    main()
