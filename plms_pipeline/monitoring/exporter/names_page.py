"""Which metrics are there, for people? The text of docs/metrics.md, made from what is declared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from plms_pipeline.monitoring.exporter.catalogue import CATALOGUE
from plms_pipeline.monitoring.exporter.catalogue.pages import API, MODEL, UI
from plms_pipeline.monitoring.exporter.series import Series

_HEAD: Final = """\
# Metrics

Written by `plms exporter --markdown > docs/metrics.md`; a test holds this page equal to what is exposed.

Four pages are scraped. None has a label with a project, run, task or person in it: what is many is counted, added up, or
ranked. Labels are closed lists and exist from the start with zero; a series whose value nobody can know is absent, and the
tables say when. Names that a guide gave are kept, also where Prometheus would choose others
(`plms_invariants_…_total` are gauges).

| page | served by | says |
|---|---|---|
| http://127.0.0.1:6100/metrics | `plms serve` | what the API answered; with `--workers` the sums of all processes |
| http://127.0.0.1:3000/metrics | `plms ui` | what the front door of the Dagster UI answered and refused |
| http://127.0.0.1:6300/metrics | `plms model serve` | what the promoted model answered, what its guardrails judged |
| http://127.0.0.1:9464/metrics | `plms exporter` | what stands in the registry, Dagster's storage, Redis and the disk |

`plms exporter` reads everything anew for each scrape, in a thread per part and with a time limit
(`PLMS_EXPORTER_TIMEOUT_S`); whoever scrapes meanwhile gets the same page. While the registry is away its series are absent,
`plms_registry_up` and `plms_exporter_up` are 0, and the page is answered all the same. Counters that are made of rows
begin a week before the exporter did, count late rows too, and fall when it is restarted, which `rate()` and `increase()`
understand. It has no login: it binds loopback, and whoever may reach it may read.

No page asks for a token, so none is told to a web page whose name was made to resolve here (DNS rebinding): they are answered
to whoever asks by address, as `localhost`, or by a name in `PLMS_METRICS_HOSTS` (the guarded UI: in `PLMS_UI_ALLOWED_HOSTS`).
A target in Prometheus' list that is a name stands there, too; else it is down with 403 `host_not_allowed`. `/health` of
the model server and `/healthz` are answered to every name: they hold which model answers and nothing that it earned.

The series `process_…` and `python_info` beside these are the library's, about the exporter's own process.
"""


def page() -> str:
    """The whole page."""
    parts = [
        _HEAD,
        _table("The exporter", list(CATALOGUE.values())),
        _table("The API", API),
        _table("The guarded Dagster UI", UI),
        _table("The model server", MODEL),
    ]
    return "\n".join(parts)


def _table(title: str, declared: Sequence[Series]) -> str:
    rows = [f"| `{each.name}` | {each.kind} | {_labels(each)} | {_told(each)} | {each.source} |" for each in declared]
    return "\n".join(
        [f"## {title}", "", "| name | type | labels | says | asked for by |", "|---|---|---|---|---|", *rows, ""]
    )


def _labels(series: Series) -> str:
    told = []
    for label in series.labels:
        words = " ".join(label.words) if label.words else "…"
        told.append(f"`{label.name}`: {words}")
    return "; ".join(told)


def _told(series: Series) -> str:
    edges = f" Buckets end at {' '.join(f'{edge:g}' for edge in series.edges)} s." if series.edges else ""
    absent = f" Absent: {series.absent[0].lower()}{series.absent[1:]}" if series.absent else ""
    return f"{series.says}{edges}{absent}".replace("Absent: redis", "Absent: Redis")
