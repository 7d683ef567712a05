"""`plms observe` and `plms verify`: late evidence from a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plms_pipeline.clock import SystemClock
from plms_pipeline.errors import BadInput, NoData, VerdictNo
from plms_pipeline.registry.opening import opened
from plms_pipeline.settings import Settings, is_http_url, load_settings

if TYPE_CHECKING:
    from plms_pipeline.evidence.verdicts import Finding
    from plms_pipeline.registry.engine import Registry

app = typer.Typer(rich_markup_mode=None, add_completion=False)
verify_app = typer.Typer(rich_markup_mode=None, add_completion=False)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Days = Annotated[float, typer.Option("--days", min=0.001, max=3650, help="How far back to look.")]


@contextmanager
def _opened() -> Iterator[tuple[Settings, Registry]]:
    settings = load_settings()
    with opened(settings) as registry:
        yield settings, registry


@app.callback(invoke_without_command=True, epilog="Example: plms observe --metrics-port 9464")
def observe(
    ctx: typer.Context,
    seconds: Annotated[
        float | None, typer.Option("--for", min=0.1, help="Stop after so many seconds; otherwise at Ctrl-C.")
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Show the metrics on this port of the loopback.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Observe late evidence until Ctrl-C; `plms serve` does the same. What waits, waits in the registry meanwhile.

    Exit 0: it was stopped. 2: bad use. 4: the registry is away, or the port is taken.
    """
    if ctx.invoked_subcommand is not None:
        return
    from plms_pipeline.evidence.service.standalone import observe_until_stopped

    def tell(observer_id: str) -> None:
        typer.echo(json.dumps({"observer": observer_id}) if as_json else f"{observer_id} observes (Ctrl-C stops it).")

    with _opened() as (settings, registry):
        counted = observe_until_stopped(
            settings, registry, SystemClock(), seconds=seconds, metrics_port=metrics_port, on_ready=tell
        )
    told = {"observed": counted}
    typer.echo(json.dumps(told) if as_json else _words(counted) or "Nothing ended meanwhile.")


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in counts.items() if count)


@app.command(epilog="Example: plms observe status --days 7")
def status(days: Days = 1.0, as_json: AsJson = False) -> None:
    """Who observes, what waits, and how what was owed ended. Exit 0: told. 2: bad use. 4: the registry is away."""
    from plms_pipeline.evidence.actions.asking import standing
    from plms_pipeline.evidence.process import is_dead
    from plms_pipeline.evidence.service.observer import spool_files

    clock = SystemClock()
    with _opened() as (settings, registry):
        found = standing(registry, clock=clock, since=clock.now() - timedelta(days=days), is_dead=is_dead)
        spools = [path.name for path in spool_files(settings.data_dir)]
    ended = [
        {"evidence_kind": kind, "obs_point": point, "reason": reason, "count": count}
        for kind, point, reason, count in found.ended
    ]
    who = None if found.leader is None else found.leader.observer_id
    if as_json:
        told = {
            "observer": who, "accepted": found.accepted, "pending": found.pending, "overdue": found.overdue,
            "spooled": spools, "ended": ended,
        }  # fmt: skip
        typer.echo(json.dumps(told))
        return
    typer.echo(f"observer  {who or 'none: `plms serve` or `plms observe` starts one'}")
    typer.echo(f"accepted  {found.accepted}, pending {found.pending}, overdue {found.overdue}, spools {len(spools)}")
    for row in ended:
        typer.echo(f"{row['count']:>8}  {row['evidence_kind']} {row['obs_point']}: {row['reason']}")


@app.command(epilog="Example: plms observe coverage --days 7 --json")
def coverage(days: Days = 7.0, as_json: AsJson = False) -> None:
    """How much evidence comes in time, per kind, and which wait is proposed.

    Exit 0: told. 2: bad use. 3: nothing was observed. 4: the registry is away.
    """
    from plms_pipeline.evidence.actions.asking import covered
    from plms_pipeline.evidence.obligations import evidence_config
    from plms_pipeline.evidence.service.review import redis_of

    with _opened() as (settings, registry), redis_of(settings) as redis:
        found = covered(
            registry, evidence_config(settings), since=SystemClock().now() - timedelta(days=days),
            look_in_redis=None if redis is None else redis.look,
        )  # fmt: skip
    if not found:
        raise NoData(
            f"Nothing was observed in the last {days:g} days; start runs, or look further back with --days.",
            code="nothing_observed",
        )
    rows: list[dict[str, Any]] = [
        {
            "evidence_kind": each.evidence_kind, "observed": each.observed, "coverage": each.ratio,
            "counts": dict(each.counts), "p50_ms": each.quantile_ms(0.5), "p99_ms": each.quantile_ms(0.99),
            "wait_ms": each.wait_ms, "proposed_wait_ms": each.proposed_wait_ms, "advice": each.advice,
        }
        for each in found
    ]  # fmt: skip
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        share = "unknown" if row["coverage"] is None else f"{row['coverage']:.1%}"
        proposed = "" if row["proposed_wait_ms"] is None else f"; proposed wait {row['proposed_wait_ms']} ms"
        typer.echo(f"{row['evidence_kind']}: {share} of {row['observed']} in time ({_words(row['counts'])})")
        typer.echo(f"    {row['advice']}{proposed}")


@app.command(epilog="Example: plms observe record run-7 --field heat_level=warm --field heat_score=0.5")
def record(
    subject: Annotated[str, typer.Argument(help="What the evidence is about: a run, a plan.")],
    kind: Annotated[str, typer.Option(help="Kind of evidence.")] = "heat",
    fields: Annotated[
        list[str] | None, typer.Option("--field", help="name=value of the evidence; may be repeated.")
    ] = None,
    correlation: Annotated[str | None, typer.Option(help="The obligation that it answers.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write evidence where it will be looked for, as another component would.

    Exit 0: written. 2: bad use. 4: the registry or Redis is away.
    """
    from plms_pipeline.evidence.actions.asking import record as write
    from plms_pipeline.evidence.obligations import EVIDENCE_KINDS, MAX_SUBJECT, Record, evidence_config
    from plms_pipeline.evidence.service.review import redis_of

    pairs = dict(_pair(each) for each in fields or ())
    if kind not in EVIDENCE_KINDS or not 0 < len(subject) <= MAX_SUBJECT:
        raise BadInput(
            f"{kind!r} about {subject[:60]!r} is no evidence; kinds are {', '.join(EVIDENCE_KINDS)}, and a subject has 1 to "
            f"{MAX_SUBJECT} characters.",
            code="unknown_evidence",
        )
    clock = SystemClock()
    found = Record(kind, subject, f"{clock.now().timestamp():.6f}", correlation, pairs)
    with _opened() as (settings, registry), redis_of(settings) as redis:
        put = None if redis is None else redis.put
        place = write(registry, evidence_config(settings), found, clock=clock, put_in_redis=put)
    typer.echo(json.dumps({"place": place}) if as_json else place)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise BadInput(f"--field {text[:60]!r} is not name=value.", code="bad_field")
    return name, value


@app.command(epilog="Example: plms observe owe plan-7 --json")
def owe(
    subject: Annotated[str, typer.Argument(help="Whose heat is owed from now on.")],
    early: Annotated[bool, typer.Option("--early", help="Look once, now: what is not there is missing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Owe heat evidence about a subject.

    Exit 0: it is owed. 1: there was no room to wait for it, which is recorded. 2: bad use. 4: the registry is away.
    """
    from plms_pipeline.evidence.actions.owing import Said, accept_group
    from plms_pipeline.evidence.obligations import AFTER_COMPLETION, AT_DECISION, evidence_config, foreign_need
    from plms_pipeline.evidence.process import observer_name

    now = SystemClock().now()
    with _opened() as (settings, registry):
        config = evidence_config(settings)
        need = foreign_need(config, subject, obs_point=AT_DECISION if early else AFTER_COMPLETION)
        [answer] = accept_group(registry, [Said(need, now)], config, observer_id=observer_name(), now=now)
    told = {"obligation_id": answer.obligation_id, "is_new": answer.is_new, "is_dropped": answer.is_dropped}
    typer.echo(json.dumps(told) if as_json else answer.obligation_id)
    if answer.is_dropped:
        raise VerdictNo(
            f"{config.max_inflight} obligations wait already, so this one was dropped; P28_LATE_OBS_MAX_INFLIGHT gives room.",
            code="evidence_dropped",
        )


@app.command(epilog="Example: plms observe cancel --yes")
def cancel(
    yes: Annotated[bool, typer.Option("--yes", help="Really end everything that waits.")] = False,
    as_json: AsJson = False,
) -> None:
    """End everything that waits as cancelled: for who takes observing out of service.

    Exit 0: done. 2: --yes is missing. 4: the registry is away.
    """
    from plms_pipeline.evidence.service.standalone import cancel_pending

    if not yes:
        raise BadInput("This ends everything that waits; say --yes to do it.", code="not_confirmed")
    with _opened() as (settings, registry):
        count = cancel_pending(settings, registry, SystemClock())
    typer.echo(json.dumps({"cancelled": count}) if as_json else f"{count} obligations cancelled.")


@verify_app.callback()
def verify() -> None:
    """Prove that evidence is observed. Exit 0: proven. 1: it is not so. 2: bad use. 3: nothing to prove it by. 4: away."""


@verify_app.command(epilog="Example: plms verify golden --json")
def golden(as_json: AsJson = False) -> None:
    """Send five synthetic obligations through, one for each thing that evidence can be; takes the wait and a little more.

    Exit 0: proven. 1: it is not so. 2: bad use. 3: observing is switched off. 4: the registry or Redis is away.
    """
    from plms_pipeline.evidence.service.golden import run_golden

    with _opened() as (settings, registry):
        found = run_golden(settings, registry, SystemClock())
    who = "an observer of this process" if found.observed_by is None else found.observed_by.observer_id
    _tell(found.findings, as_json=as_json, observed_by=who)


@verify_app.command(epilog="Example: plms verify books --metrics http://127.0.0.1:6100/metrics")
def books(
    days: Days = 7.0,
    metrics: Annotated[
        str | None, typer.Option(help="Compare with the counters of a running observer at this URL.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count obligations and observations in the registry, and compare with stream and counters.

    Exit 0: proven. 1: the counts do not agree. 2: bad use. 3: nothing was observed, or the page shows no observer.
    4: the registry or the page is away.
    """
    from plms_pipeline.evidence.actions.asking import book_facts
    from plms_pipeline.evidence.client import read_counters
    from plms_pipeline.evidence.obligations import evidence_config
    from plms_pipeline.evidence.service.observer import spool_files
    from plms_pipeline.evidence.service.review import redis_of
    from plms_pipeline.evidence.verdicts import book_findings

    if metrics is not None and not is_http_url(metrics):
        raise BadInput(
            f"--metrics {metrics[:200]!r} is no address; give the page of a running observer, such as "
            "http://127.0.0.1:6100/metrics.",
            code="bad_url",
        )
    clock = SystemClock()
    counters = None if metrics is None else read_counters(metrics)
    with _opened() as (settings, registry), redis_of(settings) as redis:
        stream = evidence_config(settings).stream
        facts = book_facts(
            registry, clock=clock, since=clock.now() - timedelta(days=days), counters=counters,
            spooled_files=[path.name for path in spool_files(settings.data_dir)],
            told=None if redis is None else lambda newest: redis.told(stream, newest=newest),
        )  # fmt: skip
    findings = book_findings(facts)
    _tell(findings, as_json=as_json, accepted=facts.accepted, pending=facts.pending, observations=facts.observations)
    if facts.is_empty:
        raise NoData(
            "Nothing has been observed yet, so nothing is proven; `plms verify golden` makes observations.",
            code="nothing_observed",
        )


def _tell(findings: Sequence[Finding], *, as_json: bool, **more: object) -> None:
    if as_json:
        rows = [
            {"name": each.name, "holds": each.holds, "problems": list(each.problems), "detail": each.detail}
            for each in findings
        ]
        typer.echo(json.dumps({**more, "findings": rows}))
    else:
        for each in findings:
            said = "; ".join(each.problems) or each.detail
            typer.echo(f"{'✓' if each.holds else '✗'} {each.name}" + (f": {said}" if said else ""))
    broken = [each.name for each in findings if not each.holds]
    if broken:
        raise VerdictNo(
            f"{len(broken)} of {len(findings)} do not hold: {', '.join(broken)}.", code="evidence_not_proven"
        )
