"""`plms retrain-estimates` and `plms forecast-task`: the family that says what a task will take."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plms_pipeline.registry.opening import opened
from plms_pipeline.settings import load_settings

if TYPE_CHECKING:
    from plms_pipeline.models.estimating.actions import EstimatesTrained, TaskAnswer
    from plms_pipeline.models.estimating.judging import Judgement
    from plms_pipeline.registry.engine import Registry

retrain_app = typer.Typer(no_args_is_help=False)
monitor_app = typer.Typer(no_args_is_help=False)
forecast_app = typer.Typer(no_args_is_help=True)


@retrain_app.command(epilog="Example: plms retrain-estimates --measure cost_usd --reason 'a new provider'")
def retrain_estimates(
    measure: Annotated[
        list[str] | None,
        typer.Option(help="tokens, duration_ms or cost_usd; may be repeated; default: cost and duration."),
    ] = None,
    blocks: Annotated[
        int, typer.Option(min=1, max=50, help="Blocks of time that are judged, each by a model of its own.")
    ] = 6,
    taught_first: Annotated[float, typer.Option(help="Share of the receipts that only teaches, 0.1 to 0.9.")] = 0.3,
    start_from: Annotated[
        str, typer.Option("--from", help="champion, or a candidate's id: its experiment in place of the options above.")
    ] = "",
    reason: Annotated[str | None, typer.Option(help="Why; kept in the manifest.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be trained on; write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train a model of what tasks take on the receipts in the books; judge it against the priors on later receipts.

    It becomes a candidate that waits for a decision (`plms model`). Exit 0: it was trained, whatever the gates say of it. 2:
    wrong use. 3: too few receipts.
    """
    from plms_pipeline.clock import SystemClock
    from plms_pipeline.errors import BadInput
    from plms_pipeline.models.actions.resembling import experiment_like
    from plms_pipeline.models.estimating.actions import EstimatesRequest, receipts_book, require_enough
    from plms_pipeline.models.estimating.experiment import EstimatesExperiment
    from plms_pipeline.models.estimating.walkforward import Plan

    chosen: Any = tuple(measure or ("cost_usd", "duration_ms"))
    experiment = EstimatesExperiment(measures=chosen, plan=Plan(taught_first, blocks))
    if start_from and experiment != EstimatesExperiment():
        raise BadInput("--from takes the experiment of a candidate; leave --measure, --blocks and --taught-first out.")
    with opened(load_settings(), read_only=dry_run) as registry:
        if start_from:
            experiment = experiment_like(registry, start_from, root=load_settings().data_dir)
        if dry_run:
            book = receipts_book(registry, until=SystemClock().now())
            known = require_enough(book, experiment.measures)
            told = ", ".join(f"{n} know their {name}" for name, n in known.items())
            typer.echo(
                json.dumps({"dry_run": True, "receipts": len(book), "known": known, "data_sha": book.digest()})
                if as_json
                else f"{len(book)} receipts, {told}. Would run: training, evaluation. Nothing was written."
            )
            return
        done = _trained(registry, EstimatesRequest(experiment, None, reason), as_json=as_json)
    typer.echo(json.dumps(_as_json(done))) if as_json else _show(done)


def _trained(registry: Registry, asked: Any, *, as_json: bool) -> EstimatesTrained:
    from dataclasses import replace
    from datetime import timedelta
    from importlib.metadata import version
    from uuid import uuid4

    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.clock import SystemClock
    from plms_pipeline.models.actions.candidates import register
    from plms_pipeline.models.estimating.actions import retrain_estimates as train
    from plms_pipeline.models.estimating.actions import trained_estimates
    from plms_pipeline.models.reporting.actions import report_estimates

    settings, actor, clock = load_settings(), local_actor(), SystemClock()
    done = train(
        registry, replace(asked, requested_by=actor.name), root=settings.data_dir, clock=clock, run_id=str(uuid4()),
        code_version=version("plms_pipeline") + (f"+{settings.git_commit}" if settings.git_commit else ""),
        told=lambda stage, what: None if as_json else typer.echo(f"{stage}: {what}", err=True),
    )  # fmt: skip
    expiry = timedelta(days=settings.candidate_expiry_days)
    register(registry, trained_estimates(done, settings.data_dir), actor=actor, clock=clock, expiry=expiry)
    report_estimates(done.run.path)
    return done


def _as_json(done: EstimatesTrained) -> dict[str, Any]:
    return {
        "candidate_id": done.run.manifest["run_id"], "path": str(done.run.path), "report": str(done.run.path / "report.html"),
        "model_sha256": done.run.model_sha256,
        "data_sha": done.data_sha256, "trials": done.trials, "blocking": list(done.blocking),
        "estimates": [one.as_document() for one in done.judged],
    }  # fmt: skip


def _show(done: EstimatesTrained) -> None:
    for one in done.judged:
        show_judgement(one)
    typer.echo(
        f"It is kept from being promoted: {', '.join(done.blocking)}."
        if done.blocking
        else f"Candidate {done.run.manifest['run_id']} waits for a decision: `plms model`."
    )
    typer.echo(f"Report: {done.run.path}/report.html")


def show_judgement(one: Judgement) -> None:
    """The lines of one measure and basis."""
    told = one.figures
    if not told["n"]:
        typer.echo(f"{one.measure} {one.basis}: no later forecast to judge.")
        return
    typer.echo(
        f"{one.measure} {one.basis}: {told['n']} later forecasts, 90 % intervals held {told['coverage_90']:.1%} (priors "
        f"{told['coverage_90_priors']:.1%}), Winkler {_ratio(told['winkler_ratio'])} of the priors' "
        f"({_ratio(told['winkler_ratio_low'])} to {_ratio(told['winkler_ratio_high'])}), CRPS {_ratio(told['crps_ratio'])}"
    )
    for condition in one.conditions:
        if not condition.passed:
            typer.echo(f"  FAIL  {condition.name}: {condition.reason}")
    if not one.passed:
        worst = _percent(told["worst_hundredth_of_priors"])
        typer.echo(f"  left to the priors; the worst hundredth of forecasts is {worst} of their score")


def _percent(value: float | None) -> str:
    return "an unknown part" if value is None else f"{value:.0%}"


def _ratio(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


@monitor_app.command(epilog="Example: plms monitor-estimates --json")
def monitor_estimates(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Judge only; record nothing, and leave forecasts alone.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Let the promoted model of estimates read the receipts: estimates of projects ask what it says of them now.

    It is judged, too, on what was begun since its promotion; a part whose intervals stopped holding is left to the priors. The
    daemon does this after a promotion, within the hour of new receipts, and every night.

    Exit 0: nothing is to be done. 1: an alert, or its file was altered; the priors answer. 3: no champion, file or receipt.
    """
    from plms_pipeline.clock import SystemClock
    from plms_pipeline.models.actions.estimates_watching import look_at_estimates

    with opened(load_settings(), read_only=dry_run) as registry:
        found = look_at_estimates(registry, data_dir=load_settings().data_dir, clock=SystemClock(), is_dry=dry_run)
    if as_json:
        typer.echo(json.dumps({**found.document, "codes": list(found.codes), "number": found.number}))
    else:
        typer.echo(f"Champion {found.champion.candidate_id}: {found.document['receipts']} receipts read")
        for one in found.document["live"]:
            typer.echo(
                f"{one['measure']} {one['basis']}: {one['n']} forecasts since the promotion"
                + (f", 90 % intervals held {one['coverage_90']:.1%}, Winkler {_ratio(one['winkler_ratio'])} of the priors'"
                   if one["n"] else "")
                + ("" if one["judged"] else "; too few to judge")
            )  # fmt: skip
        for one in found.document["alerts"]:
            typer.echo(f"  ALERT {one['code']}: {one['message']}")
        heard = ", ".join(" ".join(part) for part in found.document["heard"]) or "nowhere"
        typer.echo(f"Heard: {heard}. {found.sentence}")
    if found.codes:
        raise typer.Exit(1)


@forecast_app.command(
    epilog="Example: plms forecast-task --lane 4200 --provider 'o4-mini (2025-04-16)' --kind django --task django__django-11099"
)
def forecast_task(
    lane: Annotated[str, typer.Option(help="Number, name or alias of the lane.")],
    provider: Annotated[str, typer.Option(help="Who would do it.")],
    task: Annotated[str, typer.Option(help="The task's id, when it was tried before by anybody.")] = "",
    kind: Annotated[str, typer.Option(help="Its kind: a repository, a task family.")] = "",
    complexity: Annotated[str, typer.Option(help="Its complexity, as its project says.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What one task will take: by the promoted model of estimates where it beat the priors, beside the priors.

    Without a promoted model it is the priors' answer, and says so.
    """
    from plms_pipeline.clock import SystemClock
    from plms_pipeline.estimates.actions.forecasting import lane_words
    from plms_pipeline.estimates.plan import lane_of
    from plms_pipeline.models.estimating.actions import forecast_task as asked
    from plms_pipeline.models.estimating.forecasting import Task

    with opened(load_settings(), read_only=True) as registry:
        what = Task(
            lane_of(lane, lane_words(registry)), provider.strip(), task.strip(), kind.strip(), complexity.strip()
        )
        champion, answers = asked(registry, what, root=load_settings().data_dir, at=SystemClock().now())
    if as_json:
        told = None if champion is None else champion.candidate_id
        typer.echo(json.dumps({"champion": told, "forecasts": [one.as_json() for one in answers]}))
        return
    for one in answers:
        _show_answer(one)


def _show_answer(one: TaskAnswer) -> None:
    low, median, high = (one.found.quantiles[place] for place in (1, 19, 37))
    prior_low, prior_median, prior_high = (one.found.prior[place] for place in (1, 19, 37))
    typer.echo(f"{one.measure} {one.basis}: {median:.4g} ({low:.4g} to {high:.4g}), by the {one.by}")
    if one.why:
        typer.echo(f"  {one.why}")
    else:
        typer.echo(
            f"  the priors say {prior_median:.4g} ({prior_low:.4g} to {prior_high:.4g}); the task takes {one.found.effect:.2f} "
            "times what others take"
        )
