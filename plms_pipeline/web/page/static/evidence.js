// What is a person shown before a decision?

import { h } from "./dom.js";
import { count, figure, inUnit, minutes, percent, range, threshold, usd, words } from "./format.js";
import { badge, table } from "./parts.js";

const MOST_TASKS = 200;

export const list = (pairs) =>
  h("dl", { class: "facts" }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([label, value]) => [h("dt", null, label), h("dd", null, value)]));

function plan(project) {
  const cost = project.forecast?.spend?.cost_usd;
  const tasks = project.tasks.slice(0, MOST_TASKS);
  return [
    list([
      ["Project", `${project.name} #${project.project_id}`],
      ["About", project.description],
      ["Owner", project.owner],
      ["Estimated cost", usd(project.estimated_cost_usd)],
      ["What it may really cost (90 %)", cost ? `${usd(cost.low)} to ${usd(cost.high)}` : null],
      ["Estimated time", project.estimated_duration_minutes === null ? null : minutes(project.estimated_duration_minutes)],
      ["Estimated tokens", count(project.estimated_tokens)],
      ["Budget asked for", usd(project.budget_cost_usd_max)],
      ["When over budget", words(project.breach_policy)],
    ]),
    h("h3", null, `${project.tasks.length} tasks`),
    table(
      "Planned tasks",
      [["Task"], ["Lane"], ["Provider"], ["Waits for"], ["Cost", { class: "number" }]],
      tasks.map((task) => ({ key: `task-${task.id}`, cells: [`${task.key} · ${task.name}`, `${task.lane_name} ${task.tmd_lane}`, task.provider, task.depends_on.join(", ") || "–", usd(task.estimated_cost_usd)] })),
    ),
    project.tasks.length > MOST_TASKS ? h("p", { class: "muted" }, `${project.tasks.length - MOST_TASKS} more are not shown; plms project show lists them.`) : null,
  ];
}

function gates(run) {
  return [
    list([["Run", run.run_id], ["Ended", run.status], ["Measured verdict", run.validation], ["Owner", run.owner], ["Asked by", run.request?.actor], ["Asked because", run.request?.reason]]),
    h("h3", null, "What the gates measured"),
    table(
      "What the gates measured",
      [["Task"], ["Gate"], ["Measured", { class: "number" }], ["Asked for", { class: "number" }], ["Verdict"]],
      run.kpi_receipts.map((kpi, place) => ({
        key: `kpi-${place}`,
        cells: [kpi.task_id ?? "the run", words(kpi.kpi_name), kpi.kpi_value === null ? "not measured" : figure(kpi.kpi_value), threshold(kpi.kpi_threshold), h("span", null, badge(kpi.pass ? "ok" : kpi.blocks ? "critical" : "warning", kpi.pass ? "passed" : kpi.blocks ? "failed" : "advises"), kpi.reason ? ` ${kpi.reason}` : null)],
      })),
    ),
    Object.entries(run.logs ?? {}).map(([name, text]) => h("details", { "data-key": `log-${name}` }, h("summary", null, `Log of ${name}`), h("pre", { tabindex: "0" }, text))),
  ];
}

function letter(told) {
  return [
    list([
      ["What failed", `${told.kind} ${told.subject_id}`],
      ["Why", told.reason],
      ["Taken for", `${told.error_class} (${words(told.label)})`],
      ["State", told.state],
      ["Retries", `${told.attempts} of ${told.max_attempts}`],
      ["First failed", inUnit(told.first_failed_at, "moment")],
      ["Last failed", inUnit(told.last_failed_at, "moment")],
      ...Object.entries(told.runs ?? {}).map(([run, status]) => [`Run ${run.slice(0, 8)}`, status.toLowerCase()]),
    ]),
    told.decisions.length ? h("h3", null, "What people did about it") : null,
    h("ul", { class: "lines" }, told.decisions.map((one) => h("li", null, `${inUnit(one.at, "moment")} · ${one.by} · ${one.what}`, one.why ? `: ${one.why}` : ""))),
  ];
}

function tasks(run) {
  return [
    list([["Run", run.run_id], ["Kind", run.run_kind], ["Status", run.status.toLowerCase()], ["Verdict", run.validation], ["Ended because", run.reason], ["Repeats", run.parent_run_id]]),
    table(
      "Tasks of the run",
      [["Task"], ["Lane", { class: "number" }], ["Provider"], ["Status"], ["Attempt", { class: "number" }], ["Last error"]],
      run.tasks.map((task) => ({ key: `task-${task.task_id}`, cells: [task.task_id, String(task.lane_id), task.provider, task.status.toLowerCase(), task.attempt === null ? "–" : String(task.attempt), task.last_error ?? "–"] })),
    ),
  ];
}

function runway(told) {
  const { budget, runway: found, left } = told;
  return list([
    ["Project", `#${told.project_id}`],
    ["Spent", usd(budget.usd_spent)],
    ["Reserved for what runs", usd(budget.usd_reserved)],
    ["Budget", usd(budget.usd_max)],
    ["Burns", budget.burn_per_min === null ? "nothing" : `${usd(budget.burn_per_min)} a minute`],
    ["Budget is gone in", minutes(found.minutes_to_depletion)],
    ["Expected in the end", usd(found.projected_final_usd)],
    ["How sure that is (90 %)", range(found.projected_final_ci_90, usd)],
    ["Over by", found.projected_overrun_usd === null ? null : usd(found.projected_overrun_usd)],
    ["Over the budget by", found.projected_overrun_pct === null ? null : inUnit(found.projected_overrun_pct, "%")],
    ["Chance that the budget does not suffice", found.overrun_probability === null ? null : percent(found.overrun_probability)],
    ["Tasks left", count(left.tasks)],
    ["Of them without forecast", left.tasks_without_forecast ? count(left.tasks_without_forecast) : null],
  ]);
}

function model({ candidate, recommendation, blockers }) {
  return [
    list([
      ["Candidate", candidate.candidate_id],
      ["Family", candidate.family],
      ["Recommended", recommendation.sentence],
      ["May be decided", recommendation.options.map(words).join(", ")],
      ["Gates", candidate.gates_passed ? "passed" : "failed"],
      ["Alerts", candidate.alerts.join(", ")],
      ["Experiments on the same data", count(candidate.trials)],
      ["Asked for by", candidate.requested_by_verified ? candidate.requested_by : `${candidate.requested_by} (not verified)`],
      ["Trained because", candidate.reason],
      ["Trained at", inUnit(candidate.created_at, "moment")],
      ["Decide until", inUnit(candidate.expires_at, "moment")],
      ["Its files", candidate.folder],
      ["SHA-256 of its summary", candidate.bytes.evaluation],
      ["SHA-256 of its model", candidate.bytes.model],
    ]),
    h("h3", null, "What keeps it from going live now"),
    blockers.length ? h("ul", { class: "lines" }, blockers.map((one) => h("li", null, one.sentence))) : h("p", { class: "muted" }, "Nothing."),
  ];
}

// As much of Markdown as runbooks use: headings, lists, code. Everything else stands as it was written.
const coded = (text) => text.split("`").map((part, place) => (place % 2 ? h("code", null, part) : part));

function runbook(told) {
  const blocks = [];
  let list = null;
  let pre = null;
  for (const line of told.runbook_markdown.split("\n")) {
    if (line.startsWith("```")) {
      pre = pre ? null : blocks[blocks.push(h("pre", { tabindex: "0" })) - 1];
      list = null;
    } else if (pre) pre.append(`${line}\n`);
    else if (line.startsWith("- ")) {
      list ??= blocks[blocks.push(h("ul", { class: "points" })) - 1];
      list.append(h("li", null, coded(line.slice(2))));
    } else {
      list = null;
      // The first heading is the dialog's own.
      if (line.startsWith("## ")) blocks.push(h("h3", null, line.slice(3)));
      else if (line.trim() && !line.startsWith("# ")) blocks.push(h("p", null, coded(line)));
    }
  }
  return blocks;
}

// The shape of the answer says what it is.
export function shown(told) {
  if (typeof told.runbook_markdown === "string") return runbook(told);
  if (told.runway && told.budget) return runway(told);
  if (told.kpi_receipts) return gates(told);
  if (told.candidate && told.recommendation) return model(told);
  if (told.letter_id) return letter(told);
  if (told.run_id && told.tasks) return tasks(told);
  if (told.project_id && told.tasks) return plan(told);
  return [h("pre", { tabindex: "0" }, JSON.stringify(told, null, 2))];
}
