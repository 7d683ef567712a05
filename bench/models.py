"""How fast is a candidate judged and watched, against what people use instead, and how long does a retraining take?

Drift of 50 columns of 100 000 rows against Evidently's drift report of the same data, as it comes and with PSI alone; ours from
stored profiles, and with the profiles made anew. The 26 figures of ten years of daily returns with a benchmark against the
table of all metrics of quantstats. Ten thousand block bootstraps of mean, volatility, Sharpe ratio and deepest drawdown against
arch, whose statistic is written in numpy as its users would; theirs draws a tenth of them, and is multiplied by ten. And how
long `plms retrain` takes for 20 symbols of 20 years of days, which nobody else does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import numpy as np

from bench.common import PEERS_PYTHON, ROUNDS, Row, has_peers, in_child, timed
from plms_pipeline.clock import FrozenClock
from plms_pipeline.models.actions.request import Request
from plms_pipeline.models.actions.retraining import retrain
from plms_pipeline.models.evaluation import bootstrap as resampling
from plms_pipeline.models.evaluation.drift import drift_of_columns, profile_of
from plms_pipeline.models.evaluation.returns import Returns, returns_of
from plms_pipeline.models.evaluation.risk import risk_figures
from plms_pipeline.models.market.files.keeping import write_prices
from plms_pipeline.models.market.generator import World, generate
from plms_pipeline.models.training.experiment import experiment

COLUMNS, ROWS = 50, 100_000
YEARS = 10
RESAMPLES = 10_000
DAYS = 252
CLOCK = FrozenClock(datetime(2026, 3, 1, 12, tzinfo=UTC))

_PEER = """
import json, logging, statistics, sys, time, warnings
warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
import numpy as np
import pandas as pd
folder, rounds = sys.argv[1], int(sys.argv[2])
{body}
taken = []
for _ in range(rounds):
    started = time.perf_counter()
    work()
    taken.append(time.perf_counter() - started)
print(json.dumps({{"median_s": statistics.median(taken), "version": version}}))
"""

_EVIDENTLY = """
from evidently import Report, Dataset, DataDefinition, __version__ as version
from evidently.presets import DataDriftPreset
loaded = np.load(f"{folder}/drift.npz")
names = [f"c{n}" for n in range(loaded["before"].shape[1])]
before, now = (pd.DataFrame(loaded[name], columns=names) for name in ("before", "now"))
definition = DataDefinition(numerical_columns=list(before.columns))
def work():
    old, new = (Dataset.from_pandas(frame, data_definition=definition) for frame in (before, now))
    Report([DataDriftPreset(METHOD_)]).run(new, old).dict()
"""

_QUANTSTATS = """
import quantstats as qs
version = qs.__version__
loaded = np.load(f"{folder}/returns.npz")
days = pd.bdate_range("2015-01-01", periods=loaded["ours"].size)
ours, theirs = (pd.Series(loaded[name], index=days, name=name) for name in ("ours", "benchmark"))
def work():
    qs.reports.metrics(ours, benchmark=theirs, mode="full", display=False)
"""

_ARCH = """
import arch
from arch.bootstrap import CircularBlockBootstrap
version = arch.__version__
loaded = np.load(f"{folder}/returns.npz")
returns, length = loaded["ours"], int(loaded["length"])
def figures(r):
    growth = np.cumsum(np.log1p(r))
    highest = np.maximum.accumulate(np.maximum(growth, 0.0))
    mean, spread = r.mean(), r.std(ddof=1)
    return np.array([mean, spread, mean / spread, np.expm1((growth - highest).min())])
def work():
    drawn = CircularBlockBootstrap(length, returns, seed=1)
    drawn.conf_int(figures, reps=RESAMPLES_, method="percentile")
"""


def peer(body: str, folder: Path, rounds: int = ROUNDS) -> tuple[float, str] | None:
    """The peer's median in seconds, and its version; None where it is not installed."""
    if not has_peers():
        return None
    try:
        found = in_child(_PEER.format(body=body), str(folder), str(rounds), python=PEERS_PYTHON)
    except RuntimeError as error:
        if "ModuleNotFoundError" in str(error):
            return None
        raise
    return float(found["median_s"]), str(found["version"])


def against(
    what: str,
    name: str,
    ours: Callable[[], object],
    theirs: tuple[float, str] | None,
    goal: float | None,
    times: int = 1,
) -> Row:
    """One comparison; `times`: of how many calls of theirs the work consists."""
    took = timed(ours, rounds=15)
    if theirs is None:
        return Row("models", what, f"{name}: not installed", took, None, None, "", None)
    other, ratio = theirs[0] * times, theirs[0] * times / took
    return Row(
        "models", what, f"{name} {theirs[1]}", took, other, ratio, "told" if goal is None else f"≥ {goal:g}",
        None if goal is None else ratio >= goal,
    )  # fmt: skip


def drifts(folder: Path) -> list[Row]:
    chance = np.random.default_rng(1)
    before = chance.normal(size=(ROWS, COLUMNS))
    now = chance.normal(size=(ROWS, COLUMNS)) * np.linspace(1.0, 1.5, COLUMNS) + np.linspace(0.0, 0.5, COLUMNS)
    np.savez(folder / "drift.npz", before=before, now=now)
    old = {f"c{n}": np.ascontiguousarray(before[:, n]) for n in range(COLUMNS)}
    new = {f"c{n}": np.ascontiguousarray(now[:, n]) for n in range(COLUMNS)}
    profiles = {name: profile_of(column) for name, column in old.items()}
    report = peer(_EVIDENTLY.replace("METHOD_", ""), folder)
    alone = peer(_EVIDENTLY.replace("METHOD_", "method='psi'"), folder)
    what = f"drift of {COLUMNS} columns × {ROWS:,} rows: PSI, JS and exact KS"

    def anew() -> None:
        drift_of_columns({name: profile_of(column) for name, column in old.items()}, new)

    def stored() -> None:
        drift_of_columns(profiles, new)

    return [
        against(f"{what}, from stored profiles", "Evidently's drift report", stored, report, 200.0),
        against(f"{what}, profiles made anew", "Evidently's drift report", anew, report, None),
        against(f"{what}, profiles made anew", "Evidently with PSI alone", anew, alone, None),
    ]


def figures(folder: Path) -> list[Row]:
    chance = np.random.default_rng(2)
    benchmark = 0.01 * chance.standard_t(5, YEARS * DAYS)
    ours = 0.6 * benchmark + 0.006 * chance.standard_t(5, YEARS * DAYS) + 2e-4
    path, other = (returns_of(values, kind="simple") for values in (ours, benchmark))
    length = resampling.bootstrap(path, resamples=10).block_length
    np.savez(folder / "returns.npz", ours=ours, benchmark=benchmark, length=length)
    part = RESAMPLES // 10
    return [
        against(
            f"the performance summary of {YEARS} years with a benchmark, 26 figures", "quantstats' full table",
            lambda: risk_figures(path, other), peer(_QUANTSTATS, folder), 200.0,
        ),
        against(
            f"{RESAMPLES:,} block bootstraps of mean, volatility, Sharpe and drawdown (ours: nine figures)", "arch",
            lambda: intervals(path, length), peer(_ARCH.replace("RESAMPLES_", str(part)), folder), 15.0, times=10,
        ),
    ]  # fmt: skip


def intervals(path: Returns, length: int) -> None:
    resampling.bootstrap(path, resamples=RESAMPLES, length=length)


def retraining(folder: Path) -> Row:
    """20 symbols × 20 years of days, from the file to the verdict."""
    file = folder / "prices.csv"
    write_prices(file, generate(World(symbols=20, bars=20 * DAYS, signal_to_noise=0.1), 1).raw)
    asked = Request(file, experiment({}), has_report=False)
    took = timed(lambda: retrain(asked, root=folder, clock=CLOCK, run_id=str(uuid4()), code_version="bench"))
    return Row(
        "models", f"retraining of 20 symbols × 20 years of days ({20 * 20 * DAYS:,} bars) from CSV to the verdict", "",
        took, None, None, "told", None,
    )  # fmt: skip


def run() -> list[Row]:
    """Drift, figures, bootstraps, and a whole retraining."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        return [*drifts(folder), *figures(folder), retraining(folder)]
