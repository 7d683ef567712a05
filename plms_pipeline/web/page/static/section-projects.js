// Which projects run out of money, and when?

import { h, hidden, link } from "./dom.js";
import { minutes, percent, range, usd, words } from "./format.js";
import { badge, bar, code, empty, gauge, more, table, tasksOf } from "./parts.js";

const FIRST = 12;
const ORDER = { critical: 0, warning: 1, ok: 2 };

export const level = (project) => project.runway_status ?? "unknown";
const left = (project) => project.runway.minutes_to_depletion;

export function ranked(projects) {
  return [...projects].sort(
    (a, b) =>
      (ORDER[level(a)] ?? 3) - (ORDER[level(b)] ?? 3) ||
      (left(a) ?? Infinity) - (left(b) ?? Infinity) ||
      a.project_id - b.project_id,
  );
}

export const needsAttention = (project) => project.is_paused || level(project) === "critical" || level(project) === "warning" || project.status === "needs_review";
const TESTS = {
  all: () => true,
  attention: needsAttention,
  burning: (project) => project.budget.burn_per_min !== null,
  paused: (project) => project.is_paused,
};

function runway(project) {
  const { minutes_to_depletion: told, minutes_to_depletion_ci_90: interval } = project.runway;
  const kind = level(project);
  const said = told === null ? (project.budget.burn_per_min === null ? "nothing burns" : "unknown") : minutes(told);
  return h(
    "div",
    { class: "runway" },
    h("span", { class: `figure ${kind}` }, said),
    interval ? h("span", { class: "muted nowrap" }, ` ${range(interval, minutes)}`) : null,
    project.runway_status ? badge(kind) : h("span", { class: "muted" }, "not approved"),
    gauge(told, interval, kind),
  );
}

function money(project) {
  const { usd_max: most, usd_spent: spent, usd_reserved: held, burn_per_min: burn } = project.budget;
  const of = most || Math.max(spent + held, 0.000001);
  const said = `${usd(spent)} spent, ${usd(held)} held, budget ${most === null ? "unknown" : usd(most)}`;
  return h(
    "div",
    { class: "money" },
    h("span", { class: "nowrap" }, h("b", null, usd(spent)), h("span", { class: "muted" }, ` of ${most === null ? "no budget" : usd(most)}`)),
    h("span", { class: "muted nowrap" }, ` ${usd(held)} held${burn === null ? "" : ` · ${usd(burn)}/min`}`),
    bar([[spent / of, "fill-spent"], [held / of, "fill-held"]], said),
  );
}

function final(project) {
  const { projected_final_usd: told, projected_final_ci_90: interval, projected_overrun_usd: over } = project.runway;
  return h(
    "div",
    null,
    h("span", { class: "nowrap" }, usd(told)),
    interval ? h("span", { class: "muted nowrap" }, ` ${range(interval, usd)}`) : null,
    over ? h("span", { class: `over ${level(project)}` }, `over by ${usd(over)}`) : null,
  );
}

function row(project) {
  const name = h("button", { type: "button", class: "as-link", "data-act": "project", "data-id": project.project_id }, project.name);
  const state = project.is_paused ? badge("held", "paused") : h("span", { class: "state" }, words(project.status));
  return {
    key: `project-${project.project_id}`,
    class: `row ${level(project)}`,
    cells: [
      h("div", { class: "named" }, name, h("span", { class: "muted" }, `#${project.project_id} · ${project.owner}`)),
      runway(project),
      money(project),
      final(project),
      h("div", { class: "standing" }, state, " ", project.run ? tasksOf(project.run.tasks) : h("span", { class: "muted nowrap" }, `${project.planned_tasks} tasks planned`)),
    ],
  };
}

export function render(data, view) {
  const all = ranked(data.projects.values());
  const text = view.find.trim().toLowerCase();
  const chosen = all.filter(
    (project) => TESTS[view.which](project) && (!text || `${project.name} #${project.project_id} ${project.owner}`.toLowerCase().includes(text)),
  );
  if (!all.length) return [empty("No project is open.", "A project begins with ", code("plms project create FILE"), "; ", code("plms project samples"), " makes three to try.")];
  if (!chosen.length) return [empty("No project is like that.", `${all.length} are open.`)];
  const shown = view.all ? chosen : chosen.slice(0, FIRST);
  return [
    table(
      "Projects and their runway",
      [["Project"], [h("span", null, "Budget lasts", hidden(", and how sure that is"))], ["Spent, held, budget"], ["Expected in the end"], ["State and tasks"]],
      shown.map(row),
      { class: "projects" },
    ),
    h("p", { class: "legend" }, "Gauge: 0, 5, 15, 30, 60 minutes and more; the line is the 90 % interval."),
    more("projects", FIRST, chosen.length, view.all && chosen.length > FIRST),
  ].filter(Boolean);
}

export function note(data) {
  const all = [...data.projects.values()];
  const bad = all.filter((project) => level(project) === "critical").length;
  const near = all.filter((project) => level(project) === "warning").length;
  const said = [`${all.length} open`];
  if (bad) said.push(`${bad} critical`);
  if (near) said.push(`${near} warning`);
  if (data.inAll > all.length) said.push(`${data.inAll - all.length} older ones not shown`);
  return said.join(" · ");
}

export const facts = (project) => [
  ["Status", words(project.status)],
  ["Owner", project.owner],
  ["Paused because", project.pause_reason],
  ["When over budget", words(project.breach_policy)],
  ["Budget lasts", minutes(left(project))],
  ["90 % interval", range(project.runway.minutes_to_depletion_ci_90, minutes)],
  ["Spent", usd(project.budget.usd_spent)],
  ["Held for tasks", usd(project.budget.usd_reserved)],
  ["Budget", usd(project.budget.usd_max)],
  ["Burns per minute", project.budget.burn_per_min === null ? "nothing" : usd(project.budget.burn_per_min)],
  ["Expected in the end", usd(project.runway.projected_final_usd)],
  ["90 % interval of that", range(project.runway.projected_final_ci_90, usd)],
  ["Expected above budget", usd(project.runway.projected_overrun_usd)],
  ["Chance that the budget does not suffice", percent(project.runway.overrun_probability)],
  ["Tasks left", `${project.left.tasks}${project.left.tasks_without_forecast ? `, ${project.left.tasks_without_forecast} of them without forecast` : ""}`],
];

export { link };
