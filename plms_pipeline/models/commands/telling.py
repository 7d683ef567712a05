"""What does `plms retrain` tell of a training?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from plms_pipeline.models.actions.request import Request
    from plms_pipeline.models.actions.retraining import Data, Retrained
    from plms_pipeline.models.market.findings import Finding
    from plms_pipeline.models.records import Candidate


def tell_json(done: Retrained, candidate: Candidate | None, evaluation: Mapping[str, Any] | None) -> None:
    """A training for machines: the candidate that it became, and what a further evaluation of it said, or null."""
    waits = None if candidate is None else candidate.as_json()
    typer.echo(json.dumps({**_as_json(done), "candidate": waits, "evaluation": evaluation}))


def tell(done: Retrained, candidate: Candidate | None) -> None:
    """A training, and the candidate that it became, if it became one."""
    _show(done)
    if candidate is None:
        typer.echo("It is no candidate: with --output-dir nothing is registered, and nobody is asked.")
    else:
        tries = f"one of {candidate.trials} tries on these data and over its lineage"
        typer.echo(
            f"Candidate {candidate.candidate_id} waits until {candidate.expires_at:%Y-%m-%d}; recommended: "
            f"{candidate.action.replace('_', ' ')}; judged as {tries if candidate.trials > 1 else 'the only try'}"
        )


def tell_dry(asked: Request, data: Data, *, as_json: bool) -> None:
    """What would run, in the order in which it would."""
    if as_json:
        typer.echo(json.dumps({"dry_run": True, "stages": list(asked.stages), **_data_json(data)}))
        return
    _show_data(data)
    typer.echo(f"Would run: {', '.join(asked.stages)}. Nothing was written.")


def _as_json(done: Retrained) -> dict[str, Any]:
    return {
        "run_id": done.run.manifest["run_id"], "path": str(done.run.path), "model_sha256": done.run.model_sha256,
        "manifest_sha256": done.run.manifest_sha256, **_data_json(done.data), "metrics": done.metrics,
        "operations_summary": done.summary, "verdict": done.verdict.as_document(),
        "stages": dict(done.run.manifest["stages"]), "trials": done.trials,
    }  # fmt: skip


def _data_json(data: Data) -> dict[str, Any]:
    bars = data.examination.bars
    return {
        "data_sha": data.digest, "symbols": list(bars.symbols), "bars": int(bars.timestamp.size),
        "rejected_rows": data.rejected,
        "findings": [_finding_json(one) for one in data.findings],
    }  # fmt: skip


def _finding_json(one: Finding) -> dict[str, Any]:
    return {
        "name": one.name, "severity": one.severity, "count": one.count, "offenders": list(one.offenders), "remedy": one.remedy,
    }  # fmt: skip


def _show_data(data: Data) -> None:
    bars = data.examination.bars
    typer.echo(
        f"{bars.timestamp.size} bars of {len(bars.symbols)} symbols, {data.rejected} rows taken out; content "
        f"{data.digest[:12]}…"
    )
    for one in data.findings:
        typer.echo(f"  {one.severity}: {one.sentence}")


def _show(done: Retrained) -> None:
    _show_data(done.data)
    risk, skill = done.summary["risk"], done.metrics
    typer.echo(
        f"Out of sample: information coefficient {_number(skill['information_coefficient'])}, Sharpe "
        f"{_number(risk['sharpe'])} a year after costs, total return {_number(risk['total_return'])}, drawdown "
        f"{_number(risk['max_drawdown'])}"
    )
    if done.comparison is not None:
        challenger = _number(done.comparison.challenger["sharpe"])
        typer.echo(f"Challenger (no reinforcement learning happens): Sharpe {challenger}; {done.comparison.sentence}")
    for gate in done.verdict.gates:
        typer.echo(f"  {'pass' if gate.passed else 'FAIL'}  {gate.name}" + (f": {gate.reason}" if gate.reason else ""))
    typer.echo(
        "Nothing keeps it from being put before a person."
        if done.verdict.passed
        else f"It is kept from being promoted by {len(done.verdict.blocking)} gates."
    )
    typer.echo(f"Run: {done.run.path}\nReport: {done.run.path / 'report.html'}")


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"
