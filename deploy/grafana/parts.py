"""What dashboards are made of: a panel is a title, a question to one data source, and how the answer is drawn.

`Board` and `Panel` say what is shown; `encoded` turns them into Grafana's JSON with its own SDK, the same bytes each time.
Tests and `make prove-panels` read the questions from here and ask the real sources.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from grafana_foundation_sdk.builders import (
    barchart,
    bargauge,
    common,
    dashboard,
    gauge,
    heatmap,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog import builder as cog
from grafana_foundation_sdk.cog import variants
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models import prometheus as prometheus_models

Source = Literal["prometheus", "postgresql"]
Draw = Literal["stat", "gauge", "bars", "line", "stacked", "heatmap", "table", "barchart"]
PROMETHEUS: Final = common_models.DataSourceRef(type_val="prometheus", uid="plms-prometheus")
POSTGRESQL: Final = common_models.DataSourceRef(type_val="grafana-postgresql-datasource", uid="plms-postgresql")
WIDTH: Final = 24
GREEN, YELLOW, ORANGE, RED = "green", "yellow", "orange", "red"


@dataclass(frozen=True)
class Query:
    """One question.

    Args:
        legend: the name of each series.
        now: only the present value is asked for.
        series: rows are points in time (columns time, metric, value).
    """

    text: str
    legend: str = "__auto"
    source: Source = "prometheus"
    now: bool = False
    series: bool = False


@dataclass(frozen=True)
class Panel:
    """One panel.

    Args:
        steps: (from, colour) in rising order; the first from is None.
        words: value → (text, colour).
        step: least distance of two points, such as `1m`.
    """

    title: str
    about: str
    queries: Sequence[Query]
    draw: Draw = "line"
    unit: str = "short"
    span: int = 12
    height: int = 8
    steps: Sequence[tuple[float | None, str]] = ()
    words: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    least: float | None = None
    most: float | None = None
    step: str | None = None
    nothing: str | None = None


@dataclass(frozen=True)
class Board:
    """One dashboard; `since` is where its time range begins."""

    uid: str
    title: str
    about: str
    panels: Sequence[Panel]
    since: str = "now-6h"
    refresh: str = "30s"


def prom(text: str, legend: str = "__auto", *, now: bool = False) -> Query:
    """A question to Prometheus."""
    return Query(text, legend, now=now)


def sql(text: str, *, series: bool = False) -> Query:
    """A question to the registry; the answer is a table, or (columns time, metric, value) lines."""
    return Query(" ".join(text.split()), source="postgresql", now=True, series=series)


class _SqlQuery(variants.Dataquery):
    """A target of Grafana's PostgreSQL source, for which the SDK has no builder."""

    def __init__(self, query: Query, ref: str) -> None:
        self._target = {
            "datasource": {"type": POSTGRESQL.type_val, "uid": POSTGRESQL.uid}, "editorMode": "code",
            "format": "time_series" if query.series else "table", "rawQuery": True, "rawSql": query.text, "refId": ref,
        }  # fmt: skip

    def to_json(self) -> dict[str, object]:
        """As Grafana stores it."""
        return self._target


class _Sql(cog.Builder[variants.Dataquery]):
    """A finished target, in the shape that panels ask for."""

    def __init__(self, query: Query, ref: str) -> None:
        self._query = _SqlQuery(query, ref)

    def build(self) -> variants.Dataquery:
        """The target."""
        return self._query


def _target(query: Query, ref: str, panel: Panel) -> Any:
    if query.source == "postgresql":
        return _Sql(query, ref)
    asked = prometheus.Dataquery().datasource(PROMETHEUS).expr(query.text).legend_format(query.legend).ref_id(ref)
    asked = asked.instant() if query.now else asked.range()
    if panel.draw == "table":
        asked = asked.format(prometheus_models.PromQueryFormat.TABLE)
    return asked.interval(panel.step) if panel.step else asked


def _drawn(panel: Panel) -> Any:
    """The builder of a panel's kind, with what only that kind has."""
    last = common.ReduceDataOptions().calcs(["lastNotNull"])
    if panel.draw == "stat":
        return stat.Panel().reduce_options(last).color_mode(common_models.BigValueColorMode.VALUE)
    if panel.draw == "gauge":
        return gauge.Panel().reduce_options(last)
    if panel.draw == "bars":
        return bargauge.Panel().reduce_options(last).orientation(common_models.VizOrientation.HORIZONTAL)
    if panel.draw == "table":
        return table.Panel()
    if panel.draw == "barchart":
        return barchart.Panel().stacking(common_models.StackingMode.NORMAL).x_tick_label_rotation(-45)
    if panel.draw == "heatmap":
        colour = (
            heatmap.HeatmapColorOptions().mode(heatmap_models.HeatmapColorMode.SCHEME).scheme("RdYlGn").reverse(True)
        )
        return heatmap.Panel().calculate(False).color(colour.min(0).max(1).steps(20))
    lines = timeseries.Panel().line_width(1).show_points(common_models.VisibilityMode.NEVER)
    if panel.draw == "stacked":
        stacked = common.StackingConfig().mode(common_models.StackingMode.NORMAL).group("A")
        return lines.draw_style(common_models.GraphDrawStyle.BARS).fill_opacity(70).stacking(stacked)
    return lines.fill_opacity(10)


def _built(panel: Panel) -> Any:
    drawn = _drawn(panel).title(panel.title).description(panel.about)
    if panel.draw != "heatmap":
        drawn = drawn.unit(panel.unit)
    drawn = drawn.datasource(PROMETHEUS if panel.queries[0].source == "prometheus" else POSTGRESQL)
    if panel.steps:
        steps = [models.Threshold(value, colour) for value, colour in panel.steps]
        drawn = drawn.thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))
        if panel.draw in ("stat", "gauge", "bars"):
            drawn = drawn.color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    if panel.words:
        options = {
            value: models.ValueMappingResult(text=text, color=colour) for value, (text, colour) in panel.words.items()
        }
        drawn = drawn.mappings([models.ValueMap(options=options)])
    if panel.least is not None:
        drawn = drawn.min(panel.least)
    if panel.most is not None:
        drawn = drawn.max(panel.most)
    if panel.nothing is not None:
        drawn = drawn.no_value(panel.nothing)
    if panel.draw == "table" and len(panel.queries) > 1:
        drawn = drawn.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    for place, query in enumerate(panel.queries):
        drawn = drawn.with_target(_target(query, chr(ord("A") + place), panel))
    return drawn


def _placed(panels: Sequence[Panel]) -> list[tuple[Panel, models.GridPos]]:
    """Each panel and its place: from left to right, a new row where it does not fit, as high as its highest."""
    found, x, y, highest = [], 0, 0, 0
    for panel in panels:
        if x + panel.span > WIDTH:
            x, y, highest = 0, y + highest, 0
        found.append((panel, models.GridPos(h=panel.height, w=panel.span, x=x, y=y)))
        x, highest = x + panel.span, max(highest, panel.height)
    return found


def encoded(board: Board) -> str:
    """A dashboard as the JSON that Grafana provisions."""
    built = (
        dashboard.Dashboard(board.title).uid(board.uid).description(board.about).tags(["plms"])
        .refresh(board.refresh).time(board.since, "now").timezone("utc").readonly()
    )  # fmt: skip
    for number, (panel, place) in enumerate(_placed(board.panels), 1):
        built = built.with_panel(_built(panel).id(number).grid_pos(place))
    return json.dumps(json.loads(JSONEncoder().encode(built.build())), indent=1, sort_keys=True) + "\n"
