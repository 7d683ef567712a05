"""Which validator measures which KPI, from what?

Each function takes the snapshot of an artifact and answers with a measurement; what is missing or broken becomes the reason,
so that one bad input never hides the other KPIs of an artifact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from plms_pipeline.errors import PlmsError, Unavailable
from plms_pipeline.kpis.actions.world import World
from plms_pipeline.kpis.bleu import measure_bleu
from plms_pipeline.kpis.cypher import read_only
from plms_pipeline.kpis.echo import measure_texts, measure_vectors
from plms_pipeline.kpis.files.tree import Snapshot
from plms_pipeline.kpis.files.vectors import load_vectors
from plms_pipeline.kpis.junit import measure_tests
from plms_pipeline.kpis.linting import measure_lint
from plms_pipeline.kpis.manifest import ExpectedEdgeCount, ExpectedRowCount, ExpectedSchema, Manifest, parse
from plms_pipeline.kpis.measurement import Measurement, relative_delta, unmeasured
from plms_pipeline.kpis.process import tools
from plms_pipeline.kpis.readability import measure_readability
from plms_pipeline.kpis.schema import diff, parse_table
from plms_pipeline.kpis.store import warehouse
from plms_pipeline.kpis.vocabulary import ECHO

MAX_ECHO: Final = 256 * 1024


@dataclass(slots=True)
class Bench:
    """One artifact under measurement; `isolation` collects the protections that held for its children."""

    taken: Snapshot
    manifest: Manifest
    world: World
    isolation: list[str] = field(default_factory=list)


def measure(bench: Bench, kpi: str) -> Measurement:
    """Measure one KPI of an artifact; every expected trouble is a measurement without value."""
    try:
        return _VALIDATORS[kpi](bench)
    except Unavailable as error:
        return unmeasured(error.message, away=True)
    except PlmsError as error:
        return unmeasured(error.message)


def _test_pass_rate(bench: Bench) -> Measurement:
    if not tools.test_files(bench.taken):
        return unmeasured(f"no tests found: {tools.TESTS}/ holds no test_*.py or *_test.py")
    token = bench.world.new_id().replace("-", "")
    run = tools.run_tests(bench.taken, token=token, limits=bench.world.limits, namespaces=bench.world.namespaces)
    bench.isolation[:] = run.child.isolation
    output = run.child.output
    if run.child.stopped is not None:
        return unmeasured(f"the tests did not finish: {run.child.stopped}", log=output)
    if run.report is None:
        return unmeasured(f"pytest ended with {run.child.exit_code} and left no report", log=output)
    seen = measure_tests(run.report, exit_code=run.child.exit_code, promised=run.promised, canaries=run.canaries)
    return Measurement(seen.value, seen.reason, f"{seen.log}\n{output}")


def _linter_pass(bench: Bench) -> Measurement:
    sources = sum(entry.path.endswith((".py", ".pyi")) for entry in bench.taken.entries)
    if sources == 0:
        return measure_lint("", exit_code=0, stopped=None, python_files=0)
    child = tools.run_lint(bench.taken, limits=bench.world.limits, namespaces=bench.world.namespaces)
    bench.isolation[:] = bench.isolation or child.isolation
    return measure_lint(child.output, exit_code=child.exit_code, stopped=child.stopped, python_files=sources)


def _readability(bench: Bench) -> Measurement:
    name = bench.manifest.inputs.docs
    text = bench.taken.text(name)
    return unmeasured(f"{name} is missing") if text is None else measure_readability(text)


def _bleu_score(bench: Bench) -> Measurement:
    inputs = bench.manifest.inputs
    return measure_bleu(bench.taken.text(inputs.generated), bench.taken.text(inputs.reference))


def _database(bench: Bench) -> str:
    url = bench.world.settings.kpi_database_url
    if url is None:
        raise Unavailable(
            "no database to measure: set PLMS_KPI_DATABASE_URL, or load the sample one with `plms kpi warehouse load`.",
            code="kpi_database_unavailable",
        )
    return url


def _schema_diff(bench: Bench) -> Measurement:
    name = bench.manifest.inputs.expected_schema
    text = bench.taken.text(name)
    if text is None:
        return unmeasured(f"{name} is missing")
    expected = parse(ExpectedSchema, text, name)
    table = parse_table(expected.table_fq)
    with warehouse.reading(_database(bench)) as connection:
        actual = warehouse.columns(connection, table)
    found = diff(expected.columns, actual)
    lines = found.lines()
    reason = f"{found.count} differences; first: {lines[0]}" if lines else None
    return Measurement(found.count, reason, log="\n".join([f"table {table}: {actual}", *lines]) + "\n")


def _row_count_delta(bench: Bench) -> Measurement:
    name = bench.manifest.inputs.expected_row_count
    text = bench.taken.text(name)
    if text is None:
        return unmeasured(f"{name} is missing")
    expected = parse(ExpectedRowCount, text, name)
    table = parse_table(expected.table_fq)
    with warehouse.reading(_database(bench)) as connection:
        actual = warehouse.row_count(connection, table)
    return _delta(actual, expected.row_count, f"rows of {table}")


def _graph_edge_count_delta(bench: Bench) -> Measurement:
    name = bench.manifest.inputs.expected_edge_count
    text = bench.taken.text(name)
    if text is None:
        return unmeasured(f"{name} is missing")
    expected = parse(ExpectedEdgeCount, text, name)
    query = read_only(expected.cypher)
    if bench.world.graph is None:
        raise Unavailable("no graph to measure: set PLMS_NEO4J_URL.", code="graph_unavailable")
    return _delta(bench.world.graph.number(query), expected.edge_count, "edges")


def _delta(actual: int, expected: int, what: str) -> Measurement:
    said = f"{actual} {what}, expected {expected}"
    return Measurement(relative_delta(actual, expected), None if actual == expected else said, log=said + "\n")


def _echo_cosine(bench: Bench) -> Measurement:
    inputs = bench.manifest.inputs
    if bench.taken.has(inputs.echo_vectors):
        return measure_vectors(*load_vectors(bench.taken.root / inputs.echo_vectors))
    source, echo = (bench.taken.text(name, limit=MAX_ECHO) for name in (inputs.echo_source, inputs.echo_text))
    if source is None or echo is None:
        return unmeasured(f"neither {inputs.echo_vectors} nor {inputs.echo_source} with {inputs.echo_text}")
    return measure_texts(source, echo)


_VALIDATORS: Final[dict[str, Callable[[Bench], Measurement]]] = {
    "test_pass_rate": _test_pass_rate,
    "linter_pass": _linter_pass,
    "readability": _readability,
    "bleu_score": _bleu_score,
    "schema_diff": _schema_diff,
    "row_count_delta": _row_count_delta,
    "graph_edge_count_delta": _graph_edge_count_delta,
    ECHO: _echo_cosine,
}
OUTSIDE: Final = frozenset({"schema_diff", "row_count_delta", "graph_edge_count_delta"})
"""KPIs that measure a system outside the artifact: they can change although the artifact does not."""
