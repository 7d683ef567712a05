// Where do estimates, execution or validation go wrong, project by lane? And where do the estimates of a lane go?

import { h, hidden } from "./dom.js";
import { percent } from "./format.js";
import { badge, empty, more, spark } from "./parts.js";

const FIRST = 10;
const RANK = { high: 0, medium: 1, low: 2, unknown: 3 };

function signals(cell) {
  const { mae_pct: error, ci_width_pct: width, n, failed_or_repeated: bad, gates_measured: gates, gates_failed: failed } = cell.signals;
  return (
    `estimation ${cell.estimation_risk} (error ${percent(error)}, interval width ${percent(width)}); ` +
    `execution ${cell.execution_risk} (${bad} of ${n} attempts failed or were repeated); ` +
    `validation ${cell.validation_risk} (${failed} of ${gates} gates failed)`
  );
}

function cellOf(cell) {
  if (!cell) return h("td", { role: "cell", class: "cell none" }, h("span", { "aria-hidden": "true" }, "·"), hidden("no work"));
  const marks = [["E", cell.estimation_risk], ["X", cell.execution_risk], ["V", cell.validation_risk]].map(([letter, risk]) => h("span", { class: `mark-${risk}` }, letter));
  return h(
    "td",
    { role: "cell", class: `cell ${cell.worst}`, title: signals(cell) },
    h("span", { class: "worst" }, cell.worst),
    h("span", { class: "marks", "aria-hidden": "true" }, marks),
    hidden(`: ${signals(cell)}`),
  );
}

const worstOf = (row) => Math.min(...row.cells.map((cell) => RANK[cell.worst]));

export function render(data, view) {
  if (!data.projects.length) return [empty("No open project has work in any lane yet.")];
  const rows = [...data.projects].sort((a, b) => worstOf(a) - worstOf(b) || a.project_id - b.project_id);
  const shown = view.all ? rows : rows.slice(0, FIRST);
  const head = h("tr", { role: "row" }, h("th", { scope: "col", role: "columnheader" }, "Project"), data.lanes.map((lane) => h("th", { scope: "col", role: "columnheader" }, lane.name, h("span", { class: "muted" }, ` ${lane.lane_id}`))));
  const body = shown.map((row) => {
    const cells = new Map(row.cells.map((cell) => [cell.lane_id, cell]));
    return h("tr", { role: "row", "data-key": `risk-${row.project_id}` }, h("th", { scope: "row", role: "rowheader" }, row.name, h("span", { class: "muted" }, ` #${row.project_id}`)), data.lanes.map((lane) => cellOf(cells.get(lane.lane_id))));
  });
  return [
    h("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Risk by project and lane" }, h("table", { role: "table", class: "heat", "aria-label": "Risk by project and lane" }, h("thead", { role: "rowgroup" }, head), h("tbody", { role: "rowgroup" }, body))),
    h("p", { class: "legend" }, "E estimation · X execution · V validation; unknown below three observations. ", badge("low"), " ", badge("medium"), " ", badge("high"), " ", badge("unknown")),
    more("risk", FIRST, rows.length, view.all && rows.length > FIRST),
  ].filter(Boolean);
}

export function note(data) {
  const high = data.projects.filter((row) => worstOf(row) === 0).length;
  return high ? `${high} of ${data.projects.length} projects have a high risk` : "";
}

export function renderDrift(data) {
  if (!data.lanes.length) return [empty("Nothing that was estimated has been done yet.", "Drift is told per lane from the last ten projects that started.")];
  return [
    h(
      "ul",
      { class: "drifts" },
      data.lanes.map((lane) => {
        const values = lane.history.map((point) => point.mae_pct);
        const last = values[values.length - 1];
        const said = `Error of the last ${values.length} projects: ${values.map((value) => percent(value)).join(", ")}`;
        return h(
          "li",
          { "data-key": `drift-${lane.lane_id}`, class: "drift" },
          h("span", { class: "named" }, h("span", null, lane.name), h("span", { class: "muted" }, String(lane.lane_id))),
          spark(values, said),
          h("span", { class: "figure" }, percent(last)),
          h("span", { class: `trend ${lane.trend}` }, lane.trend),
        );
      }),
    ),
  ];
}

export function noteDrift(data) {
  const worse = data.lanes.filter((lane) => lane.trend === "degrading").length;
  return worse ? `${worse} of ${data.lanes.length} lanes degrade` : "error of the estimated tokens, last ten projects";
}
