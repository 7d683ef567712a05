// Where the page begins: what it asks for, when it asks again, and what a press of a key or button does.

import { Problem, get, send } from "./api.js";
import { become, h } from "./dom.js";
import { Live } from "./live.js";
import * as dialog from "./dialog.js";
import { age, clock, count, day, minutes, serverNow, setServerTime, usd } from "./format.js";
import { badge, refusal, skeleton, tasksOf } from "./parts.js";
import { list } from "./evidence.js";
import * as inbox from "./section-inbox.js";
import * as portfolio from "./section-portfolio.js";
import * as projects from "./section-projects.js";
import * as risk from "./section-risk.js";
import * as runs from "./section-runs.js";
import * as safety from "./section-safety.js";

const GATHER_MS = 60;
const MOST_ASKED = 40;
const AGES_MS = 15000;
const BURN_MS = 10000;
const AGAIN_MS = 5000;
const byId = (id) => document.getElementById(id);
const me = { actor: null, role: null, scopes: new Set() };
const about = { dagster_url: null, beat_s: 5 };
const live = { state: "connecting", since: null, why: null };

// What each section asks for, how often at most (ms), and how it is shown.
const SECTIONS = {
  inbox: { rest: 300, load: () => get("/api/inbox"), render: inbox.render, note: inbox.note },
  alerts: { rest: 500, load: () => get("/api/alerts"), render: safety.renderAlerts, note: safety.noteAlerts, mayBeAbsent: true },
  killswitch: { rest: 300, load: () => get("/api/killswitch"), render: safety.renderSwitch, note: safety.noteSwitch, bones: 2 },
  proofs: { rest: 2000, load: loadProofs, render: safety.renderProofs, note: safety.noteProofs, bones: 3 },
  projects: { rest: 400, load: loadProjects, render: projects.render, note: projects.note, bones: 8 },
  portfolio: { rest: 700, load: () => get("/api/page/portfolio"), render: portfolio.render, note: portfolio.note, bones: 8 },
  risk: { rest: 3000, load: () => get("/api/page/risk"), render: risk.render, note: risk.note, bones: 6 },
  drift: { rest: 3000, load: () => get("/api/page/drift"), render: risk.renderDrift, note: risk.noteDrift, bones: 3 },
  runs: { rest: 700, load: () => get("/api/page/runs"), render: runs.render, note: runs.note, bones: 6 },
};
for (const [name, section] of Object.entries(SECTIONS)) {
  // Never asked: the clock begins with the page, and 0 would have the first asking rest from that.
  Object.assign(section, { name, data: null, problem: null, isLoading: false, isWanted: false, askedAt: -Infinity, timer: null });
  section.view = { all: false, find: "", which: "all", may: (scope) => me.scopes.has(scope), dagster: null };
}

// Asking

// Which projects to ask for: all of them, or those that changed.
const wanted = { all: true, ids: new Set() };
async function loadProjects() {
  const section = SECTIONS.projects;
  const isPart = section.data && !wanted.all && wanted.ids.size > 0 && wanted.ids.size <= MOST_ASKED;
  const only = isPart ? [...wanted.ids] : null;
  Object.assign(wanted, { all: false, ids: new Set() });
  try {
    const told = await get(only ? `/api/page/projects?${only.map((id) => `project_id=${id}`).join("&")}` : "/api/page/projects");
    const known = only ? new Map(section.data.projects) : new Map();
    for (const one of told.projects) known.set(one.project_id, one);
    for (const id of told.gone) known.delete(id);
    return { projects: known, inAll: told.in_all };
  } catch (problem) {
    wanted.all = true;
    throw problem;
  }
}

async function loadProofs() {
  const [latest, history] = await Promise.all([get("/api/ops/invariants/latest"), get("/api/ops/invariants/history?limit=30")]);
  return { latest, history: history.history };
}

// Ask for a section soon; askings that come meanwhile become one.
function want(name, ids) {
  const section = SECTIONS[name];
  if (!section || section.isAbsent) return;
  if (name === "projects") {
    if (ids) ids.forEach((id) => wanted.ids.add(id));
    else wanted.all = true;
  }
  section.isWanted = true;
  plan(section);
}

function plan(section) {
  if (section.isLoading || section.timer) return;
  const wait = Math.max(GATHER_MS, section.rest - (performance.now() - section.askedAt));
  section.timer = setTimeout(() => load(section), wait);
}

async function load(section) {
  clearTimeout(section.timer);
  Object.assign(section, { timer: null, isWanted: false, isLoading: true, askedAt: performance.now() });
  draw(section);
  try {
    const data = await section.load();
    Object.assign(section, { data, problem: null });
  } catch (problem) {
    if (!(problem instanceof Problem)) console.error(problem);
    if (problem.status === 401) signedOut();
    section.problem = problem instanceof Problem ? problem : new Problem(0, { code: "page_error", detail: String(problem.message || problem) });
  }
  section.isLoading = false;
  clearTimeout(section.again);
  // What will pass is asked for again: the stream may go on, and would name the section only when something is written.
  const { status, code } = section.problem ?? {};
  if (section.problem && code !== "page_error" && (status === 0 || status >= 500)) section.again = setTimeout(() => live.state !== "over" && want(section.name), AGAIN_MS);
  draw(section);
  tiles();
  if (section.isWanted) plan(section);
}

// Showing

function draw(section) {
  const panel = byId(section.name);
  const body = panel.querySelector(".body");
  panel.hidden = Boolean(section.isAbsent || (section.mayBeAbsent && !section.data && !section.problem));
  document.querySelectorAll(`[data-of="${section.name}"]`).forEach((link) => link.toggleAttribute("hidden", panel.hidden));
  if (panel.hidden) return become(body, []);
  panel.setAttribute("aria-busy", String(section.isLoading && !section.data));
  section.view.dagster = about.dagster_url;
  let content;
  let note = "";
  if (section.data) {
    try {
      content = section.render(section.data, section.view);
      note = section.note(section.data);
    } catch (error) {
      console.error(error);
      content = [refusal(new Problem(0, { code: "page_error", detail: `This section cannot be shown (${error.message}).` }), section.name)];
    }
    if (section.problem) content = [refusal(section.problem, section.name), ...content];
  } else if (section.problem) content = [refusal(section.problem, section.name)];
  else content = [skeleton(section.bones ?? 4)];
  become(body, content);
  panel.querySelector(".note").textContent = note;
  return undefined;
}

const drawAll = () => Object.values(SECTIONS).forEach((section) => (section.data || section.problem) && draw(section));

function tile(key, target, label, level, value, sub) {
  return h("li", { "data-key": key }, h("a", { href: `#${target}`, class: `tile ${level}` }, h("span", { class: "label" }, label), h("span", { class: "value" }, value), h("span", { class: "sub" }, sub || " ")));
}

function tiles() {
  const { inbox: box, alerts, killswitch, proofs, projects: all, portfolio: lanes } = SECTIONS;
  const shown = [];
  const waiting = (section) => (section.problem ? "unknown" : "…");
  // Of what was not read nothing calming is said.
  const calm = (section, said) => (section.problem ? "cannot be read now" : section.data ? said : "");
  const on = killswitch.data?.on;
  const first = killswitch.data?.switches?.[0];
  shown.push(tile("t-switch", "killswitch", "Kill switch", on ? "critical" : killswitch.data ? "ok" : "unknown", killswitch.data ? (on ? "ON" : "off") : waiting(killswitch), on ? killswitch.data.flag_file ?? first?.reason ?? killswitch.data.registry : calm(killswitch, "work may start")));
  const worst = alerts.data ? safety.worstOf(alerts.data) : null;
  if (!alerts.isAbsent && (alerts.data || alerts.problem)) {
    shown.push(tile("t-alerts", "alerts", "Alerts", !alerts.data ? "unknown" : worst ? (worst < "P2" ? "critical" : "warning") : "ok", alerts.data ? count(safety.openOf(alerts.data)) : "unknown", worst ? `worst ${worst}${safety.heldBy(alerts.data)}` : calm(alerts, "none open")));
  }
  const items = box.data?.items ?? [];
  const oldest = items.map((item) => item.since).filter(Boolean).sort()[0];
  shown.push(tile("t-inbox", "inbox", "Decisions", box.data ? (items.length ? "warning" : "ok") : "unknown", box.data ? String(items.length) : waiting(box), oldest ? `oldest waits ${age(oldest)}` : calm(box, "nothing waits")));
  const known = all.data ? projects.ranked(all.data.projects.values()) : [];
  const burning = known.filter((one) => one.runway.minutes_to_depletion !== null).sort((a, b) => a.runway.minutes_to_depletion - b.runway.minutes_to_depletion)[0];
  shown.push(tile("t-runway", "projects", "Shortest runway", burning ? projects.level(burning) : all.data ? "ok" : "unknown", burning ? minutes(burning.runway.minutes_to_depletion) : all.data ? "–" : waiting(all), burning ? `${burning.name} #${burning.project_id}` : calm(all, "nothing burns")));
  const bad = known.filter((one) => projects.level(one) === "critical").length;
  shown.push(tile("t-projects", "projects", "Projects", bad ? "critical" : all.data ? "ok" : "unknown", all.data ? String(known.length) : waiting(all), bad ? `${bad} critical` : calm(all, "none critical")));
  const burn = known.reduce((sum, one) => sum + (one.budget.burn_per_min ?? 0), 0);
  shown.push(tile("t-work", "portfolio", "Work", lanes.data ? "plain" : "unknown", lanes.data ? `${count(lanes.data.running)} of ${count(portfolio.capacity(lanes.data))}` : waiting(lanes), lanes.data ? `${count(lanes.data.waiting)} waiting${burn ? ` · ${usd(burn)}/min` : ""}` : ""));
  const proof = proofs.data?.latest;
  const kind = proof ? { ok: "ok", fail: "critical", error: "warning" }[proof.status] ?? "unknown" : "unknown";
  shown.push(tile("t-proof", "proofs", "Last proof", kind, proof ? { ok: "holds", fail: "broken", error: "unreadable" }[proof.status] ?? "none" : waiting(proofs), proof?.timestamp ? day(proof.timestamp) : calm(proofs, "no night yet")));
  become(byId("tiles"), shown);
  const loud = [on ? "STOPPED" : null, worst && worst < "P2" ? `${worst} alert` : null, bad ? `${bad} critical` : null, items.length ? `${items.length} to decide` : null].filter(Boolean);
  document.title = `${loud.length ? `(${loud.join(", ")}) ` : ""}PLMS control room`;
}

// Is it live?

function shownState() {
  const said = live.state === "live" ? "live" : live.state === "lost" ? `not live since ${clock(live.since)} UTC` : live.state === "over" ? "signed out" : "connecting";
  const mark = byId("live");
  if (mark.dataset.state !== live.state || byId("live-text").textContent !== said) {
    mark.dataset.state = live.state;
    byId("live-text").textContent = said;
  }
  document.body.toggleAttribute("data-stale", live.state === "lost");
  const banner = byId("banner");
  banner.hidden = live.state !== "lost";
  if (live.state === "lost") banner.textContent = `Not live since ${clock(live.since)} UTC: what you see is as old as that. ${live.why ?? ""} It is tried again by itself.`;
}

const stream = new Live("/api/events", {
  onChange(what) {
    if (what.at) setServerTime(what.at);
    const isAll = !what.projects?.length && !what.lanes?.length && !what.runs?.length;
    for (const name of what.sections) want(name, name === "projects" && !isAll && what.projects.length ? what.projects : null);
  },
  onState(state, since, why) {
    const before = live.state;
    Object.assign(live, { state, since: since + (serverNow() - Date.now()), why });
    if (state === "over") signedOut(why);
    if (state === "lost" && before === "live") dialog.say("The page is not live any more.");
    if (state === "live" && before === "lost") dialog.say("The page is live again.");
    shownState();
  },
});

// Who is here?

async function begin() {
  Object.values(SECTIONS).forEach(draw);
  tiles();
  try {
    const [who, what] = await Promise.all([get("/api/me"), get("/api/page/about")]);
    Object.assign(me, { actor: who.actor, role: who.role, scopes: new Set(who.scopes) });
    Object.assign(about, what);
    SECTIONS.alerts.isAbsent = !what.has_alerts;
    setServerTime(what.now);
    stream.beatS = what.beat_s;
  } catch (problem) {
    if (problem.status === 401) return signedOut();
    if (problem.status === 403) return signedOut("Your token may not see this page; it takes at least the role viewer.");
    Object.assign(live, { state: "lost", since: live.since ?? Date.now(), why: problem.message });
    shownState();
    Object.values(SECTIONS).forEach((section) => { section.problem = problem; draw(section); });
    tiles();
    setTimeout(begin, 3000);
    return undefined;
  }
  byId("sign-in").hidden = true;
  byId("room").hidden = false;
  byId("nav").hidden = false;
  byId("who").hidden = false;
  byId("who").textContent = about.auth === "disabled" ? `${me.actor} · no sign-in needed` : `${me.actor}${me.role ? ` · ${me.role}` : ""}`;
  byId("sign-out").hidden = about.auth === "disabled";
  live.state = "connecting";
  shownState();
  Object.keys(SECTIONS).forEach((name) => want(name));
  stream.lastId = null;
  stream.start();
  return undefined;
}

function signedOut(why) {
  stream.stop();
  dialog.close();
  byId("room").hidden = true;
  byId("nav").hidden = true;
  byId("who").hidden = true;
  byId("sign-out").hidden = true;
  byId("sign-in").hidden = false;
  byId("banner").hidden = true;
  live.state = "over";
  Object.values(SECTIONS).forEach((section) => Object.assign(section, { data: null, problem: null }));
  shownState();
  document.title = "Sign in · PLMS control room";
  const error = byId("sign-in-error");
  error.hidden = !why;
  error.textContent = why ?? "";
  byId("token").focus();
}

byId("sign-in-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const error = byId("sign-in-error");
  error.hidden = true;
  try {
    await send("POST", "/api/session", { token: byId("token").value.trim() });
    byId("token").value = "";
    await begin();
    byId("main").focus();
  } catch (problem) {
    error.hidden = false;
    error.textContent = problem.message;
  }
});

byId("sign-out").addEventListener("click", async () => {
  try {
    await send("DELETE", "/api/session");
    signedOut();
  } catch (problem) {
    dialog.tell("Sign out", refusal(problem, "dialog"));
  }
});

// What a press does

const soon = (...names) => () => names.forEach((name) => want(name));
const itemOf = (id) => SECTIONS.inbox.data?.items.find((item) => item.id === id);
const ACTS = {
  close: () => dialog.close(),
  again: ({ section }) => (SECTIONS[section] ? want(section) : dialog.close()),
  more: ({ section }) => {
    SECTIONS[section].view.all = !SECTIONS[section].view.all;
    draw(SECTIONS[section]);
  },
  look: ({ item }) => dialog.show(itemOf(item)?.title ?? "Evidence", itemOf(item)?.look),
  decide: ({ item, name }) => {
    const found = itemOf(item);
    const action = found?.actions.find((one) => one.name === name);
    if (action) dialog.decide(found.title, action, found.look, soon("inbox", "projects", "runs", "portfolio"));
  },
  run: ({ id }) => dialog.show(`Run ${id.slice(0, 8)}`, `/api/runs/${encodeURIComponent(id)}`),
  project: ({ id }) => project(Number(id)),
  pause: ({ id }) => dialog.decide(`Pause project ${id}`, { label: "Pause", path: `/api/projects/${id}/pause`, asks_reason: true, tone: "danger" }, null, soon("projects", "inbox")),
  resume: ({ id }) => dialog.decide(`Resume project ${id}`, { label: "Resume", path: `/api/projects/${id}/resume`, asks_reason: false }, null, soon("projects", "inbox")),
  budget: ({ id }) => {
    const known = SECTIONS.projects.data.projects.get(Number(id));
    const fields = [{ name: "budget_cost_usd_max", label: "New budget", kind: "usd", value: known?.budget.usd_max }];
    dialog.decide(`Change the budget of project ${id}`, { label: "Change the budget", path: `/api/projects/${id}/budget`, asks_reason: true, fields }, null, soon("projects"));
  },
  stop: () => {
    const fields = [
      { name: "scope", label: "What", kind: "choice", value: "global", choices: ["global", "project", "lane"] },
      { name: "subject", label: "Number of the project or lane (empty for everything)", kind: "text", required: false, convert: (text) => (text.trim() ? { subject: Number(text) } : {}) },
    ];
    dialog.decide("Stop everything that starts or spends", { label: "Stop it", path: "/api/killswitch/on", asks_reason: true, tone: "danger", fields }, null, soon("killswitch"));
  },
  release: ({ scope, subject }) => {
    const body = { scope, ...(subject ? { subject: Number(subject) } : {}) };
    dialog.decide(`Release the kill switch (${scope === "global" ? "everything" : `${scope} ${subject}`})`, { label: "Release", path: "/api/killswitch/off", asks_reason: true, body }, null, soon("killswitch"));
  },
  "let-go": () => dialog.decide("Let go on what the kill switch paused", { label: "Let go on", path: "/api/killswitch/resume", asks_reason: true }, null, soon("killswitch", "portfolio")),
  runbook: ({ rule }) => dialog.show(`What to do: ${rule.replaceAll("_", " ")}`, `/api/alerts/rules/${encodeURIComponent(rule)}/runbook`),
  ack: ({ id, rule }) => dialog.decide(`Take over the alert ${rule.replaceAll("_", " ")}`, { label: "I have it", path: `/api/alerts/${encodeURIComponent(id)}/ack`, asks_reason: true }, null, soon("alerts")),
};

function project(id) {
  const known = SECTIONS.projects.data?.projects.get(id);
  if (!known) return;
  const may = (scope) => me.scopes.has(scope);
  const buttons = [
    may("projects.start") && !["planning", "pending_approval"].includes(known.status) ? h("button", { type: "button", "data-act": known.is_paused ? "resume" : "pause", "data-id": id }, known.is_paused ? "Resume …" : "Pause …") : null,
    may("approvals.write") ? h("button", { type: "button", "data-act": "budget", "data-id": id }, "Change the budget …") : null,
    known.run ? h("button", { type: "button", class: "quiet", "data-act": "run", "data-id": known.run.run_id }, "Newest run") : null,
    about.dagster_url ? h("a", { href: `${about.dagster_url}/locations/plms_pipeline.definitions/jobs/start_project_run/playground`, rel: "noopener noreferrer", target: "_blank" }, "Start a run in Dagster") : null,
  ];
  dialog.tell(`${known.name} #${id}`, h("p", null, badge(projects.level(known), known.runway_status ?? "not approved")), list(projects.facts(known)), known.run ? tasksOf(known.run.tasks) : null, h("p", { class: "buttons" }, buttons.filter(Boolean)));
}

document.addEventListener("click", (event) => {
  const pressed = event.target.closest("[data-act]");
  if (pressed && ACTS[pressed.dataset.act]) {
    event.preventDefault();
    ACTS[pressed.dataset.act](pressed.dataset);
  }
});
byId("project-filter").addEventListener("submit", (event) => event.preventDefault());
byId("find").addEventListener("input", (event) => {
  SECTIONS.projects.view.find = event.target.value;
  draw(SECTIONS.projects);
});
byId("which").addEventListener("change", (event) => {
  SECTIONS.projects.view.which = event.target.value;
  draw(SECTIONS.projects);
});

// Colours

const THEMES = ["auto", "dark", "light"];
const SAID = { auto: "as the system says", dark: "dark", light: "light" };
function paint(theme) {
  if (theme === "auto") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.dataset.theme = theme;
  byId("theme").textContent = theme[0].toUpperCase() + theme.slice(1);
  byId("theme").setAttribute("aria-label", `Colours: ${SAID[theme]}`);
}
const kept = (theme) => {
  try {
    if (theme) localStorage.setItem("plms-theme", theme);
    return localStorage.getItem("plms-theme");
  } catch {
    return theme;
  }
};
let theme = THEMES.includes(kept()) ? kept() : "auto";
paint(theme);
byId("theme").addEventListener("click", () => {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  kept(theme);
  paint(theme);
});

setInterval(() => { byId("clock-text").textContent = clock(serverNow()); }, 1000);
setInterval(() => { drawAll(); tiles(); }, AGES_MS);
// Runways run out by themselves, with nothing written.
setInterval(() => {
  const data = SECTIONS.projects.data;
  if (live.state === "live" && data) {
    const burning = [...data.projects.values()].filter((one) => one.budget.burn_per_min !== null).map((one) => one.project_id);
    if (burning.length) want("projects", burning);
  }
}, BURN_MS);

begin();
