"""The night: our wall time less the time inside our own functions, against Dagster's floor for the same steps and checks.

The floor is a job with as many assets, edges and checks whose bodies do nothing, run the same way, in turn, on the same disk
instance. What remains of the real night after subtracting the time inside asset and check bodies is what orchestration costs.
The books are the shipped samples; the measured nights find no news, as most nights do.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import inspect
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from bench.common import ROOT, ROUNDS, Row

GOAL = 1.5
PREPARE = (
    ("db", "upgrade"),
    ("import", "swebench", "data/samples/swebench_agent_runs.csv.gz"),
    ("import", "metr", "data/samples/metr_agent_runs.csv.gz"),
    ("kpi", "warehouse", "load", "data/samples/artifacts/warehouse.sql"),
    ("kpi", "inbox", "add", *sorted(str(p) for p in (ROOT / "data/samples/artifacts").glob("*/"))),
    ("nightly",),
)


class Inside:
    """Seconds spent inside wrapped functions."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, with its time counted; of a generator only the time between its yields."""

        @functools.wraps(function)
        def plain(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - started

        @functools.wraps(function)
        def generator(*args: Any, **kwargs: Any) -> Iterator[Any]:
            produced = function(*args, **kwargs)
            while True:
                started = time.perf_counter()
                try:
                    item = next(produced)
                except StopIteration:
                    return
                finally:
                    self.seconds += time.perf_counter() - started
                yield item

        return generator if inspect.isgeneratorfunction(function) else plain


def measure(rounds: int) -> dict[str, Any]:
    """Run the real job and its empty twin in turn in this process; needs a prepared PLMS_DATA_DIR."""
    warnings.simplefilter("ignore")
    import dagster as dg

    from plms_pipeline.instance.files.home import prepare_instance
    from plms_pipeline.settings import load_settings

    prepare_instance(load_settings())
    defs = importlib.import_module("plms_pipeline.definitions").defs
    job = defs.resolve_job_def("nightly")
    inside = Inside()
    for op in job.nodes:
        body = op.definition.compute_fn
        op.definition._compute_fn = body._replace(decorated_fn=inside.wrap(body.decorated_fn))
    twin = empty_twin(dg, job)
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    overhead, floor, wall = [], [], []
    with dg.DagsterInstance.get() as instance:
        for _ in range(rounds):
            inside.seconds, started = 0.0, time.perf_counter()
            result = job.execute_in_process(instance=instance, run_config=quiet)
            wall.append(time.perf_counter() - started)
            overhead.append(wall[-1] - inside.seconds)
            started = time.perf_counter()
            empty = twin.execute_in_process(instance=instance, run_config=quiet)
            floor.append(time.perf_counter() - started)
            same = len(result.get_asset_check_evaluations()) == len(empty.get_asset_check_evaluations())
            if not (result.success and empty.success and same):
                raise RuntimeError("the twin does not have the shape of the night")
    return {
        "overhead": statistics.median(overhead),
        "floor": statistics.median(floor),
        "wall": statistics.median(wall),
        "steps": len(job.nodes),
        "checks": len(result.get_asset_check_evaluations()),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def empty_twin(dg: Any, job: Any) -> Any:
    """A job with the same assets, edges, checks and steps as `job`, whose bodies do nothing."""
    assets, checks = [], []
    for each in sorted({a for a in job.asset_layer.asset_graph.assets_defs if a.is_executable}, key=str):
        if each.op.name not in {node.name for node in job.nodes}:
            continue
        (checks if not each.keys else assets).append(_empty(dg, each))
    inside = job.asset_layer.selected_asset_keys
    outside = {dep for each in assets for spec in each.specs for dep in (d.asset_key for d in spec.deps)} - inside
    outside |= {spec.asset_key for each in checks for spec in each.check_specs} - inside
    selection = dg.AssetSelection.assets(*inside) | dg.AssetSelection.checks_for_assets(*outside)
    definitions = dg.Definitions(
        assets=[*assets, *(dg.AssetSpec(key) for key in outside)], asset_checks=checks,
        jobs=[dg.define_asset_job("twin", selection=selection)], executor=dg.in_process_executor,
    )  # fmt: skip
    return definitions.resolve_job_def("twin")


def _empty(dg: Any, each: Any) -> Any:
    """An asset (or a bundle of checks) of the same name, edges and checks that does nothing."""
    specs = [
        dg.AssetCheckSpec(s.name, asset=s.asset_key, additional_deps=list(s.additional_deps)) for s in each.check_specs
    ]

    def results() -> list[Any]:
        return [dg.AssetCheckResult(check_name=s.name, asset_key=s.asset_key, passed=True) for s in specs]

    if not each.keys:

        @dg.multi_asset_check(name=each.op.name, specs=specs, can_subset=True)
        def nothing():  # type: ignore[no-untyped-def]
            yield from results()

        return nothing

    @dg.asset(key=each.key, deps=list(each.asset_deps[each.key]), check_specs=specs)
    def nothing_at_all():  # type: ignore[no-untyped-def]
        return dg.MaterializeResult(check_results=results())

    return nothing_at_all


def run() -> list[Row]:
    """Prepare books in a folder of their own, then measure in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {**os.environ, "PLMS_DATA_DIR": f"{folder}/data", "PLMS_REPORTS_DIR": f"{folder}/reports"}
        for words in PREPARE:
            subprocess.run(
                [sys.executable, "-m", "plms_pipeline.cli", *words],
                env=environ,
                check=True,
                capture_output=True,
                cwd=ROOT,
            )
        child = subprocess.run(
            [sys.executable, "-m", "bench.nightly", "--rounds", str(ROUNDS)],
            env=environ, check=True, capture_output=True, text=True, cwd=ROOT,
        )  # fmt: skip
    found = json.loads(child.stdout.splitlines()[-1])
    ratio = found["overhead"] / found["floor"]
    return [
        Row(
            bench="nightly", what=f"night of {found['steps']} steps and {found['checks']} checks, less our own functions",
            against="Dagster's floor: the same job with empty bodies", ours_s=found["overhead"], theirs_s=found["floor"],
            ratio=ratio, goal=f"< {GOAL}", holds=ratio < GOAL, peak_mib=found["peak_mib"],
            note=f"whole night {found['wall']:.2f} s",
        )
    ]  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    print(json.dumps(measure(parser.parse_args().rounds)))
