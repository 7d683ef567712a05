"""Write every dashboard: `python -m deploy.grafana` (`make dashboards`)."""

from __future__ import annotations

import sys
from pathlib import Path

from deploy.grafana.boards import BOARDS
from deploy.grafana.parts import encoded

DASHBOARDS = Path(__file__).parent / "dashboards"


def main() -> int:
    """One file per dashboard; files of dashboards that are no more are removed."""
    wanted = {f"{board.uid}.json": encoded(board) for board in BOARDS}
    for stale in DASHBOARDS.glob("*.json"):
        if stale.name not in wanted:
            stale.unlink()
    for name, text in wanted.items():
        (DASHBOARDS / name).write_text(text, encoding="utf-8")
    sys.stdout.write(f"{len(wanted)} dashboards in {DASHBOARDS}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
