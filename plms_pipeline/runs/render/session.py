"""How is a session report shown to people, and to the guides' own search commands?

`KEY: value` lines inside one fence, each on a line of its own, because that is what the guides grep for; nothing that came from
an artifact or executor can close the fence or begin a line. Around them, what a person reads first: result, tasks, KPIs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from jinja2 import Environment, StrictUndefined

from plms_pipeline.runs.session import KpiFacts, SessionFacts
from plms_pipeline.runs.session_fields import SessionReport

_TEMPLATE = """\
# Session report: {{ report.TARGET|cell }}

**{{ report.RESULT }}** · run `{{ report.RUN_ID }}` · {{ report.CASES_PASSED }} of {{ report.CASES_TOTAL }} tasks good
{%- if revision > 1 %} · revision {{ revision }}{% endif %}

```
{% for name, value in fields -%}
{{ name }}: {{ value }}
{% endfor -%}
```

## Tasks

| task | lane | provider | status | verdict | attempts | why |
|---|---|---|---|---|---|---|
{% for task in facts.tasks -%}
| {{ task.task_id|cell }} | {{ task.lane_id }} | {{ task.provider|cell }} | {{ task.status }} | {{ task.validation }} | {{ \
task.attempts }} | {{ (task.reason or "")|cell }} |
{% endfor %}
{%- if facts.kpis %}
## KPIs

| task | KPI | value | asked | verdict | why |
|---|---|---|---|---|---|
{% for kpi in facts.kpis -%}
| {{ (kpi.task_id or "")|cell }} | {{ kpi.kpi }} | {{ kpi|measured }} | {{ kpi.threshold|shown|cell }} | {{ \
kpi|verdict }} | {{ (kpi.reason or "")|cell }} |
{% endfor %}
{%- endif %}
"""


def session_markdown(report: SessionReport, facts: SessionFacts, *, revision: int) -> str:
    """The report as Markdown."""
    environment = Environment(
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - that is for HTML; `cell` and `shown` keep foreign text inside its line and cell
        keep_trailing_newline=True,
    )
    environment.filters.update(cell=_cell, shown=shown, measured=_measured, verdict=_verdict)
    fields = [(name, shown(value)) for name, value in report.model_dump(mode="json").items()]
    return environment.from_string(_TEMPLATE).render(report=report, facts=facts, fields=fields, revision=revision)


class Listed(Protocol):
    """A report in a list."""

    @property
    def report(self) -> Mapping[str, Any]:
        """Its fields."""
        ...

    @property
    def revision(self) -> int:
        """How often it was written."""
        ...


def reports_markdown(newest: Sequence[Listed]) -> str:
    """A table of reports, one line each."""
    lines = ["| run | target | result | good tasks | cost USD | revision |", "|---|---|---|---|---|---|"]
    for each in newest:
        field = each.report
        cells = (
            str(field["RUN_ID"]), str(field["TARGET"]), str(field["RESULT"]),
            f"{field['CASES_PASSED']} of {field['CASES_TOTAL']}", shown(field["COST_USD"]), str(each.revision),
        )  # fmt: skip
        lines.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
    return "\n".join(lines) if newest else "No run has ended yet."


def shown(value: Any) -> str:
    """A field's value on one line: false is `false`, what is not known is `unknown`, lists and objects are JSON."""
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _line(value)
    if isinstance(value, Mapping | Sequence):
        return _line(json.dumps(value, ensure_ascii=False, sort_keys=True))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text).replace("```", "'''")


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|").replace("<", "&lt;")


def _measured(kpi: KpiFacts) -> str:
    return "not measured" if kpi.value is None else f"{kpi.value:.6g}"


def _verdict(kpi: KpiFacts) -> str:
    return "pass" if kpi.passed else "FAIL" if kpi.blocks else "advice: low"
