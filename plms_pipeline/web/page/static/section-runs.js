// Which runs are there, and what did their gates say?

import { h } from "./dom.js";
import { age, figure, short, threshold, words } from "./format.js";
import { badge, empty, more, table, tasksOf } from "./parts.js";

const FIRST = 10;

const LEVELS = { SUCCESS: "ok", FAIL: "critical", RUNNING: "busy", QUEUED: "unknown", SKIPPED: "unknown" };
const VERDICTS = { passed: "ok", failed: "critical", pending: "unknown", ungated: "unknown" };

function gate(one) {
  const kind = one.failed ? (one.blocks ? "critical" : "warning") : "ok";
  const asked = threshold(one.threshold);
  const value = one.value === null ? "not measured" : figure(one.value);
  const said = `${words(one.kpi)}: ${one.measured - one.failed} of ${one.measured} passed`;
  const why = one.failed ? `; ${one.task_id ?? "a task"}: ${value} ${asked ? `asked for ${asked}` : ""}${one.reason ? `, ${one.reason}` : ""}` : "";
  return h("span", { class: `gate ${kind}`, title: said + why }, h("span", null, words(one.kpi)), h("span", { class: "figures" }, one.failed ? ` ${value}${asked ? ` (${asked})` : ""}` : ` ${one.measured - one.failed}/${one.measured}`), one.blocks ? null : h("span", { class: "muted" }, " advises"));
}

function verdict(run) {
  if (run.is_let_pass) return badge("held", "let pass");
  return badge(VERDICTS[run.validation] ?? "unknown", run.validation);
}

export function render(data, view) {
  if (!data.runs.length) return [empty("No run was started yet.", "An approved project is started with ", h("code", null, "plms run start ID"), ".")];
  return [
    table(
      "The newest runs",
      [["Run"], ["Status"], ["Tasks"], ["Verdict and gates"], ["Started", { class: "number" }]],
      (view.all ? data.runs : data.runs.slice(0, FIRST)).map((run) => ({
        key: `run-${run.run_id}`,
        cells: [
          h("div", { class: "named" }, h("button", { type: "button", class: "as-link mono", "data-act": "run", "data-id": run.run_id }, short(run.run_id)), h("span", { class: "muted" }, `${run.project_name} #${run.project_id} · ${run.run_kind}${run.write_sandbox ? " in the sandbox" : ""}`)),
          badge(LEVELS[run.status] ?? "unknown", run.status.toLowerCase()),
          tasksOf(run.tasks),
          h("div", { class: "chips" }, verdict(run), run.gates.map(gate)),
          run.started_at ? `${age(run.started_at)} ago` : "not yet",
        ],
      })),
      { class: "runs" },
    ),
    more("runs", FIRST, data.runs.length, view.all && data.runs.length > FIRST),
  ].filter(Boolean);
}

export function note(data) {
  const now = data.runs.filter((run) => run.status === "RUNNING").length;
  const failed = data.runs.filter((run) => run.validation === "failed" && !run.is_let_pass).length;
  return [`${now} running`, failed ? `${failed} failed their gates` : null].filter(Boolean).join(" · ");
}
