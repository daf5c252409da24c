"""make monitor: shows the dashboard on a terminal."""

import sys

from dashboard import read_rows
from processes import run_process
from support import ROOT


async def test_make_monitor_prints_every_panel_with_its_current_values(component):
    for name in ("prometheus", "redis-server"):
        component(name)
    command = [sys.executable, ROOT / "tests" / "monitor.py", "--once"]
    async with run_process(*command, env={"COLUMNS": "160"}) as process:
        assert await process.wait_for_exit(300) == 0, process.output

    for row in read_rows("15s"):
        assert row.title in process.output
        for panel in row.panels:
            assert panel.title in process.output
    assert "no data yet" not in process.output
    assert "Alerts that fire" in process.output
