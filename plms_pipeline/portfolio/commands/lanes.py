"""`plms lanes list | set-cap | set-gate | add | review | apply | reject | autoscale`: every change is a decision."""

from __future__ import annotations

import json
from typing import Annotated, Any
from uuid import uuid4

import typer

from plms_pipeline.clock import SystemClock
from plms_pipeline.errors import BadInput
from plms_pipeline.portfolio.commands.opened import opened

app = typer.Typer(no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
LaneId = Annotated[int, typer.Argument(help="The lane's number.")]
ReviewId = Annotated[str, typer.Argument(help="The review's id.")]
Reason = Annotated[str, typer.Option(help="Why; kept with the decision for ever.")]


@app.callback()
def lanes() -> None:
    """Lanes: caps, gates, and what is recommended about them."""


def _new_id() -> str:
    return str(uuid4())


def _facts(registry: Any) -> dict[str, Any]:
    from plms_pipeline.access.actors import local_actor

    return {"registry": registry, "clock": SystemClock(), "ids": _new_id, "actor": local_actor()}


@app.command("list", epilog="Example: plms lanes list --json.")
def list_(as_json: AsJson = False) -> None:
    """Every lane with its cap, what holds its slots, and its gates."""
    from plms_pipeline.portfolio.actions.lanes import list_lanes

    with opened() as (_, registry):
        found = list_lanes(registry)
    if as_json:
        told = [
            {"lane_id": one.lane_id, "name": one.name, "cap": one.cap, "taken": one.taken, "active": one.is_active,
             "gates": list(one.gates)}
            for one in found
        ]  # fmt: skip
        typer.echo(json.dumps({"lanes": told}))
        return
    for one in found:
        gates = (
            ", ".join(f"{gate['kpi_name']} {gate['operator']} {gate['threshold']}" for gate in one.gates) or "no gate"
        )
        typer.echo(
            f"{one.lane_id}  {one.name:<16} {one.taken}/{one.cap}{'' if one.is_active else ' not active'}  {gates}"
        )


@app.command("set-cap", epilog="Example: plms lanes set-cap 4200 6 --reason 'two more workers'.")
def set_cap(
    lane: LaneId,
    cap: Annotated[int, typer.Argument(help="How many of its tasks may run at once.")],
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """Decide a lane's cap."""
    from plms_pipeline.portfolio.actions import lanes as actions

    with opened() as (_, registry):
        done = actions.set_cap(**_facts(registry), lane_id=lane, cap=cap, reason=reason)
    _told(done, as_json=as_json)


@app.command("set-gate", epilog="Example: plms lanes set-gate 4200 test_pass_rate '>=' 0.95 --reason 'too lenient'.")
def set_gate(
    lane: LaneId,
    kpi: Annotated[str, typer.Argument(help="The KPI.")],
    operator: Annotated[str, typer.Argument(help="One of >= <= == > < !=.")],
    threshold: Annotated[str, typer.Argument(help="A number, or true or false for a flag.")],
    reason: Reason,
    advisory: Annotated[bool, typer.Option(help="Only advise; work passes all the same.")] = False,
    as_json: AsJson = False,
) -> None:
    """Decide a lane's gate for a KPI."""
    from plms_pipeline.portfolio.actions import lanes as actions

    with opened() as (_, registry):
        done = actions.set_gate(
            **_facts(registry), lane_id=lane, kpi=kpi, operator=operator, threshold=_value(threshold),
            blocks=not advisory, reason=reason,
        )  # fmt: skip
    _told(done, as_json=as_json)


@app.command(epilog="Example: plms lanes add 4203 Code-Review --cap 2 --reason 'reviews were hidden in Code-API'.")
def add(
    lane: LaneId,
    name: Annotated[str, typer.Argument(help="Its name.")],
    reason: Reason,
    cap: Annotated[int, typer.Option(help="How many of its tasks may run at once.")] = 3,
    description: Annotated[str, typer.Option(help="What is done there.")] = "",
    as_json: AsJson = False,
) -> None:
    """Decide a new lane."""
    from plms_pipeline.portfolio.actions import lanes as actions

    with opened() as (_, registry):
        done = actions.add_lane(
            **_facts(registry), lane_id=lane, name=name, cap=cap, description=description, reason=reason
        )
    _told(done, as_json=as_json)


@app.command(epilog="Example: plms lanes review. Exit 0 whether or not anything is recommended.")
def review(as_json: AsJson = False) -> None:
    """Look at the last whole week of every lane; what is recommended, with its evidence."""
    from plms_pipeline.portfolio.actions.reviews import measure_lanes, review_lanes

    with opened() as (settings, registry):
        clock = SystemClock()
        measure_lanes(registry, clock=clock)
        found = review_lanes(registry, clock=clock, ids=_new_id, alpha=settings.alpha)
    if as_json:
        from dataclasses import asdict

        typer.echo(json.dumps({"reviews": [asdict(one) for one in found]}))
        return
    for one in found:
        field = f"{one.field} {one.subject}".strip()
        typer.echo(
            f"{one.review_id}  lane {one.lane_id}  {field} {one.current:g} -> {one.recommended:g}  {one.rule}  "
            f"{json.dumps(one.evidence)}"
        )
    if not found:
        typer.echo("nothing is recommended")


@app.command(epilog="Example: plms lanes apply REVIEW_ID --reason 'agreed with the team'.")
def apply(review_id: ReviewId, reason: Reason, as_json: AsJson = False) -> None:
    """Apply a recommendation, as your decision."""
    from plms_pipeline.portfolio.actions.reviews import apply_review

    with opened() as (settings, registry):
        done = apply_review(**_facts(registry), review_id=review_id, reason=reason, alpha=settings.alpha)
    told = {"review_id": review_id, "lane_id": done.lane_id, "before": done.current, "after": done.recommended}
    typer.echo(json.dumps(told) if as_json else f"lane {done.lane_id}: {done.current:g} -> {done.recommended:g}")


@app.command(epilog="Example: plms lanes autoscale. Exit: 0 whether or not a cap moved, 1 PLMS_LANE_AUTOSCALE is off.")
def autoscale(as_json: AsJson = False) -> None:
    """Let caps move by what the lanes did in the last hour, now: what the hourly job does where PLMS_LANE_AUTOSCALE=on."""
    from dataclasses import asdict

    from plms_pipeline.errors import VerdictNo
    from plms_pipeline.portfolio.actions import reviews
    from plms_pipeline.portfolio.policies import autoscale_bounds

    with opened() as (settings, registry):
        bounds = autoscale_bounds(settings)
        if bounds is None:
            raise VerdictNo("Caps do not move by themselves: PLMS_LANE_AUTOSCALE is off.", code="autoscale_off")
        reviews.measure_lanes(registry, clock=SystemClock())
        moved = reviews.autoscale(registry, clock=SystemClock(), ids=_new_id, bounds=bounds)
    if as_json:
        typer.echo(json.dumps({"moved": [asdict(one) for one in moved]}))
        return
    for one in moved:
        typer.echo(f"lane {one.lane_id}: {one.before} -> {one.after}  {one.rule} (decision {one.decision_id})")
    if not moved:
        typer.echo("no cap moved")


@app.command(epilog="Example: plms lanes reject REVIEW_ID --reason 'the errors were ours'.")
def reject(review_id: ReviewId, reason: Reason, as_json: AsJson = False) -> None:
    """Leave the lane as it is, as your decision."""
    from plms_pipeline.portfolio.actions.reviews import reject_review

    with opened() as (_, registry):
        done = reject_review(**_facts(registry), review_id=review_id, reason=reason)
    typer.echo(
        json.dumps({"review_id": review_id, "lane_id": done.lane_id}) if as_json else f"lane {done.lane_id}: unchanged"
    )


def _value(text: str) -> float | bool:
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text)
    except ValueError:
        raise BadInput(f"{text[:40]!r} is no threshold: give a number, true or false.", code="bad_threshold") from None


def _told(done: Any, *, as_json: bool) -> None:
    if as_json:
        told = {"decision_id": done.decision_id, "lane_id": done.lane_id, "before": done.before, "after": done.after}
        typer.echo(json.dumps(told))
    else:
        typer.echo(f"lane {done.lane_id}: {done.before} -> {done.after} (decision {done.decision_id})")
