"""How fast are ten million receipts calibrated, against the limit (reading the same columns) and what people use instead?

Ours: count, log moments, EWMA and sketch of three measures per (lane, provider), from Parquet partitions of the day files'
types, two threads, each reading and summarising one partition after the other. The limit: pyarrow reading the same columns
of the same files with the same two threads, and with its own. Peers do the same statistics without the sketch in
their own environment; they read the same files.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.common import PEERS_PYTHON, Row, has_peers, in_child

ROWS = int(os.environ.get("BENCH_RECEIPTS", "10000000"))
PARTITIONS = 20
THREADS = 2
LANES = (4200, 4201, 4202, 5100, 5101, 5102, 6100, 6101)
PROVIDERS = 8

PEERS = {
    "DuckDB 2, count, log moments and EWMA of the last 110": """
import duckdb
con = duckdb.connect()
con.execute("SET threads TO 2")
con.execute("SET enable_progress_bar = false")
sums = ", ".join(f"avg(ln({m})) FILTER ({m} > 0), var_pop(ln({m})) FILTER ({m} > 0)" for m in MEASURES)
tails = ", ".join(f"list({m} ORDER BY pos)" for m in MEASURES)
def work():
    con.execute(f"SELECT lane_id, provider, count(*), {sums} FROM read_parquet('{folder}/*.parquet') GROUP BY ALL").fetchall()
    last = f"{folder}/{sorted(os.listdir(folder))[-1]}"
    con.execute(f"SELECT lane_id, provider, {tails} FROM (SELECT *, file_row_number AS pos FROM read_parquet('{last}', "
        "file_row_number = true) QUALIFY row_number() OVER (PARTITION BY lane_id, provider ORDER BY file_row_number DESC) "
        "<= 110) GROUP BY ALL").fetchall()
""",
    "polars 2, the same, streaming": """
import polars as pl
os.environ.setdefault("POLARS_MAX_THREADS", "2")
def work():
    frame = pl.scan_parquet(f"{folder}/*.parquet")
    logs = [f(pl.col(m).cast(pl.Float64).log()).alias(f"{n}_{m}") for m in MEASURES
            for n, f in (("mean", lambda e: e.mean()), ("var", lambda e: e.var()))]
    frame.group_by("lane_id", "provider").agg(pl.len(), *logs).collect(engine="streaming")
    last = pl.scan_parquet(f"{folder}/{sorted(os.listdir(folder))[-1]}")
    last.group_by("lane_id", "provider").agg(pl.col(m).tail(110) for m in MEASURES).collect(engine="streaming")
""",
    "pandas 2, groupby().ewm() alone": """
import pandas as pd
def work():
    frame = pd.read_parquet(folder, columns=["lane_id", "provider", *MEASURES])
    frame["cost_usd"] = frame["cost_usd"].astype(float)
    frame.groupby(["lane_id", "provider"])[list(MEASURES)].ewm(alpha=0.3).mean()
""",
}  # fmt: skip

_PEER = """
import json, os, statistics, sys, time
folder = sys.argv[1]
MEASURES = ("tokens", "duration_ms", "cost_usd")
{body}
taken = []
for _ in range(int(sys.argv[2])):
    started = time.perf_counter()
    work()
    taken.append(time.perf_counter() - started)
print(json.dumps({{"median_s": statistics.median(taken)}}))
"""

# Everything heavy runs in children: a child's peak memory starts at its parent's, so this process stays small.
_CHILD = """
import sys
sys.path.insert(0, ".")
from pathlib import Path
from bench import calibration
calibration.{step}(Path(sys.argv[1]))
"""


def write(folder: Path, rows: int = ROWS) -> None:
    """Partitions of the day files' types, zstd as they are written, groups mixed as they arrive."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    names = pa.array([f"model-{i}" for i in range(PROVIDERS)])
    per_file = rows // PARTITIONS
    for part in range(PARTITIONS):
        micro = (1e6 * np.exp(rng.normal(-1.5, 0.8, per_file))).astype(np.int64)
        words = np.zeros((per_file, 2), dtype="<i8")
        words[:, 0] = micro
        cost = pa.Array.from_buffers(pa.decimal128(14, 6), per_file, [None, pa.py_buffer(words)])
        table = pa.table({
            "lane_id": pa.array(rng.choice(LANES, per_file), pa.int32()),
            "provider": names.take(pa.array(rng.integers(0, PROVIDERS, per_file))),
            "tokens": pa.array(np.exp(rng.normal(9, 1, per_file)).astype(np.int64)),
            "duration_ms": pa.array(np.exp(rng.normal(12, 1, per_file)).astype(np.int64)),
            "cost_usd": cost,
        })  # fmt: skip
        pq.write_table(table, folder / f"{part:04d}.parquet", compression="zstd", use_dictionary=True, version="2.6")


def read(path: Path, *, use_threads: bool = False) -> Any:
    """The columns of one partition, as the calibration reads them."""
    import pyarrow.parquet as pq

    from plms_pipeline.estimates.partitions import COLUMNS, DICTIONARIES

    return pq.read_table(path, columns=list(COLUMNS), read_dictionary=list(DICTIONARIES), use_threads=use_threads)


def ours(folder: Path) -> dict[Any, Any]:
    """The calibration of all partitions."""
    from plms_pipeline.estimates.partitions import summarise_partitions

    with ThreadPoolExecutor(THREADS) as pool:
        return summarise_partitions(
            [partial(read, path) for path in sorted(folder.iterdir())], alpha=0.3, each=pool.map
        )


def limit_by_partition(folder: Path) -> int:
    """pyarrow reading the same columns, one partition per thread; nothing is kept."""
    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(lambda path: read(path).num_rows, sorted(folder.iterdir())))


def limit_by_pyarrow(folder: Path) -> int:
    """pyarrow reading the same columns with its own two threads, all of it kept."""
    return int(read(folder, use_threads=True).num_rows)


def rounds_of(functions: dict[str, Callable[[], Any]], rounds: int = 7) -> dict[str, float]:
    """Medians of functions called in turn, so that a busy moment of the machine hits all of them."""
    taken: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in taken.items()}


def measure(folder: Path) -> None:
    """Print medians of ours and of both limits as JSON."""
    import pyarrow as pa

    pa.set_cpu_count(THREADS)
    found = ours(folder)
    assert sum(summary.n for (_, measure), summary in found.items() if measure == "cost_usd") == ROWS
    medians = rounds_of({
        "ours": lambda: ours(folder), "partition": lambda: limit_by_partition(folder),
        "pyarrow": lambda: limit_by_pyarrow(folder),
    })  # fmt: skip
    print(json.dumps({**medians, "groups": len(found)}))


def _step(name: str, folder: Path) -> dict[str, Any]:
    return in_child(_CHILD.format(step=name), str(folder))


def run() -> list[Row]:
    """All figures."""
    with tempfile.TemporaryDirectory(prefix="bench-calibration-") as name:
        folder = Path(name) / "receipts"
        folder.mkdir()
        _step("write", folder)
        found = _step("measure", folder)
        peak = _step("ours", folder)["peak_mib"]
        ours_s = found["ours"]
        what = f"{ROWS:,} receipts, {found['groups']} groups × measures, {THREADS} threads"
        rows = []
        for limit, told in (("partition", "one partition per thread"), ("pyarrow", "its own threads, all in memory")):
            ratio = ours_s / found[limit]
            against = f"limit: pyarrow reads the same columns, {told}"
            rows.append(Row("calibration", what, against, ours_s, found[limit], ratio, "≤ 2", ratio <= 2, peak))
        return [*rows, *_peers(folder, what, ours_s)]


def _peers(folder: Path, what: str, ours_s: float) -> list[Row]:
    rows = []
    for name, body in PEERS.items():
        if not has_peers():
            rows.append(Row("calibration", what, name, ours_s, None, None, "", None, note="peers are not installed"))
            continue
        rounds = "1" if name.startswith("pandas") else "5"
        child = in_child(_PEER.format(body=body), str(folder), rounds, python=PEERS_PYTHON)
        theirs = float(child["median_s"])
        note = f"peer's peak {child['peak_mib']:,.0f} MiB"
        rows.append(Row("calibration", what, name, ours_s, theirs, theirs / ours_s, "", None, note=note))
    return rows


if __name__ == "__main__":
    print(json.dumps([{name: getattr(row, name) for name in Row.__slots__} for row in run()], indent=1))
