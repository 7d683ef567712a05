"""`make bench`: runs every bench and prints one table; `--write` puts it into bench/README.md.

Each module offers `run() -> list[Row]`. A peer that is not installed is named as such, never guessed: `make bench-peers`.
"""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
import time
from pathlib import Path

from bench.common import Row, as_json, has_peers

MODULES = (
    "calibration",
    "invariants",
    "nightly",
    "portfolio",
    "models",
    "throughput",
    "scrape",
    "http",
    "daemon",
    "serving",
)
README = Path(__file__).with_name("README.md")
START, END = "<!-- figures -->", "<!-- end of figures -->"


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| bench | what | against | ours | theirs | ratio | goal | holds | peak MiB |",
        "|---|---|---|---:|---:|---:|---|---|---:|",
    ]
    for row in rows:
        seconds = [f"{value * 1000:,.2f} ms" if value is not None else "" for value in (row.ours_s, row.theirs_s)]
        ratio = "" if row.ratio is None else f"{row.ratio:,.2f}"
        holds = {True: "yes", False: "**no**", None: ""}[row.holds]
        peak = "" if row.peak_mib is None else f"{row.peak_mib:,.0f}"
        note = f" ({row.note})" if row.note else ""
        cells = (row.bench, row.what + note, row.against, *seconds, ratio, row.goal, holds, peak)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def with_others(new: str, before: str) -> str:
    """A table with the rows of an earlier one for benches that were not run now."""
    benches = {line.split("|")[1] for line in new.splitlines()}
    kept = [line for line in before.splitlines() if line.startswith("|") and line.split("|")[1] not in benches]
    return "\n".join((new, *kept))


def main() -> int:
    """Run the benches that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("only", nargs="*", help=f"some of {', '.join(MODULES)} (default: all)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write", action="store_true", help="put the table into bench/README.md")
    options = parser.parse_args()
    rows: list[Row] = []
    for name in options.only or MODULES:
        started = time.perf_counter()
        print(f"bench {name} …", file=sys.stderr, flush=True)
        rows += importlib.import_module(f"bench.{name}").run()
        print(f"bench {name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    print(as_json(rows) if options.json else table(rows))
    if not has_peers():
        print("peers are not installed: `make bench-peers` makes their environment", file=sys.stderr)
    if options.write:
        text = README.read_text(encoding="utf-8")
        head, _, rest = text.partition(START)
        before, _, tail = rest.partition(END)
        machine = f"Measured with Python {platform.python_version()} on {platform.machine()}, medians of at least five rounds."
        README.write_text(
            f"{head}{START}\n{machine}\n\n{with_others(table(rows), before)}\n{END}{tail}", encoding="utf-8"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
