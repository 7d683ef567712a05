// What waits for a person, with what is known about it?

import { breakable, h, link } from "./dom.js";
import { age, inUnit, words } from "./format.js";
import { code, empty, more } from "./parts.js";

const FIRST = 6;
const JOBS = { project_approval: "approve_project", kpi_override: "decide_kpi_override", failed_run: "request_kpi_override", dead_letter: "decide_dead_letters", candidate: "decide_candidate", ungated_lane: "accept_ungated_lane" };
const ICONS = { project_approval: "budget", kpi_override: "gate", failed_run: "gate", paused_project: "paused", dead_letter: "failed work", candidate: "model", lane_review: "lane", ungated_lane: "lane", budget_breach: "budget" };

function button(item, action) {
  return h("button", { type: "button", class: action.tone, "data-act": "decide", "data-item": item.id, "data-name": action.name }, `${action.label} …`);
}

function entry(item, view) {
  const allowed = item.actions.filter((action) => action.may);
  const why = item.actions.length && !allowed.length ? item.actions[0].why_not : null;
  const told = item.lines.filter((line) => line.value !== null && line.value !== "");
  const isNamed = item.project_name && item.title.includes(item.project_name);
  const where = item.project_id === null ? null : h("span", null, isNamed ? `#${item.project_id}` : `${item.project_name ?? "project"} #${item.project_id}`);
  const partition = view.dagster && item.kind === "candidate" ? link(`${view.dagster}/assets/promotion_recommendation?view=partitions&partition=${encodeURIComponent(item.subject)}`, "Its partition") : null;
  const job = view.dagster && JOBS[item.kind] ? link(`${view.dagster}/locations/plms_pipeline.definitions/jobs/${JOBS[item.kind]}/playground`, "In Dagster") : null;
  return h(
    "li",
    { "data-key": item.id, class: "entry" },
    h("h3", null, h("span", { class: "kind" }, ICONS[item.kind] ?? words(item.kind)), " ", item.title),
    h("p", { class: "muted" }, where, where ? " · " : null, item.asked_by ? `asked by ${item.asked_by} · ` : null, item.since ? `waits for ${age(item.since)}` : "waits"),
    h("dl", { class: "facts" }, told.map((line) => [h("dt", null, line.label), h("dd", null, breakable(inUnit(line.value, line.unit)))])),
    item.remedy ? h("p", { class: "muted" }, item.remedy) : null,
    h(
      "p",
      { class: "buttons" },
      allowed.map((action) => button(item, action)),
      item.look ? h("button", { type: "button", class: "quiet", "data-act": "look", "data-item": item.id }, "Evidence") : null,
      job,
      partition,
    ),
    why ? h("p", { class: "why" }, why) : null,
  );
}

export function render(data, view) {
  if (!data.items.length) return [empty("Nothing waits for a decision.", "What people must decide comes here by itself; ", code("plms decide list"), " shows what was decided.")];
  const shown = view.all ? data.items : data.items.slice(0, FIRST);
  return [h("ul", { class: "entries" }, shown.map((item) => entry(item, view))), more("inbox", FIRST, data.items.length, view.all && data.items.length > FIRST)].filter(Boolean);
}

export const note = (data) => (data.items.length ? `${data.items.length} waiting` : "");
