// What is stopped, did last night's books balance, and who was alarmed?

import { h, link, svg } from "./dom.js";
import { age, clock, count, day, figure, words } from "./format.js";
import { badge, code, empty, more } from "./parts.js";

// Kill switch

const where = (one) => (one.scope === "global" ? "everything" : `${one.scope} ${one.subject}`);

export function renderSwitch(data, view) {
  const may = view.may("guards.write");
  const stop = may ? h("button", { type: "button", class: "danger", "data-act": "stop" }, "Stop …") : null;
  const go = may ? h("button", { type: "button", "data-act": "let-go" }, "Let go on what was paused …") : null;
  const note = may ? null : h("p", { class: "muted" }, "Only an administrator stops or releases.");
  const lines = data.switches
    .filter((one) => !(one.scope === "global" && one.subject))
    .map((one) =>
      h(
        "li",
        { "data-key": `switch-${one.scope}-${one.subject}` },
        h("p", null, h("b", null, where(one)), ` · ${one.reason}`),
        h("p", { class: "muted" }, `by ${one.by}, for ${age(one.since)}`),
        may ? h("button", { type: "button", "data-act": "release", "data-scope": one.scope, "data-subject": one.subject }, `Release ${where(one)} …`) : null,
      ),
    );
  if (data.flag_file !== null)
    lines.push(
      h("li", { "data-key": "flag" }, h("p", null, h("b", null, "flag file"), ` · ${data.flag_file}`), may && !data.switches.some((one) => one.scope === "global" && !one.subject) ? h("button", { type: "button", "data-act": "release", "data-scope": "global", "data-subject": "" }, "Take the flag down …") : null),
    );
  if (data.registry) lines.push(h("li", { "data-key": "registry" }, data.registry));
  const head = data.on ? h("p", { class: "switch on" }, badge("critical", "on"), " Nothing starts in its scope; what runs is paused.") : h("p", { class: "switch" }, badge("ok", "off"), " Work may start.");
  return [head, lines.length ? h("ul", { class: "lines" }, lines) : null, h("p", { class: "buttons" }, stop, go), note].filter(Boolean);
}

export const noteSwitch = () => "";

// Proofs

const NIGHTS = { ok: "ok", fail: "critical", unknown: "unknown", error: "warning" };

function strip(nights) {
  const ordered = [...nights].reverse();
  const said = `The last ${ordered.length} nights: ${ordered.map((night) => `${day(night.timestamp)} ${night.status}`).join(", ")}`;
  const shape = { ok: [4, 12], fail: [16, 0], error: [10, 6], unknown: [3, 13] };
  const drawn = ordered.map((night, place) => svg("rect", { x: place * 8, y: shape[night.status][1], width: 6, height: shape[night.status][0], class: `fill-${NIGHTS[night.status]}` }));
  return svg("svg", { class: "nights", viewBox: `0 0 ${Math.max(8, ordered.length * 8)} 16`, preserveAspectRatio: "xMaxYMid meet", role: "img", "aria-label": said }, drawn);
}

export function renderProofs(data, view) {
  const { latest, history } = data;
  if (latest.status === "unknown" && !history.length) return [empty("No night was proven yet.", code("plms nightly"), " proves one.")];
  const said = { ok: "Every invariant holds", fail: "The books are broken", error: "The proof cannot be read", unknown: "Nothing was proven" };
  const tail = latest.tail ?? [];
  return [
    h("p", null, badge(NIGHTS[latest.status], latest.status), ` ${said[latest.status]}`, latest.timestamp ? h("span", { class: "muted" }, ` · ${day(latest.timestamp)} ${clock(latest.timestamp)} UTC`) : null),
    latest.error ? h("p", null, latest.error) : null,
    latest.violations?.length ? h("ul", { class: "lines bad" }, latest.violations.map((line) => h("li", null, line))) : null,
    history.length > 1 ? strip(history) : null,
    tail.length ? h("details", { "data-key": "tail" }, h("summary", null, `All ${tail.length} invariants`), h("ul", { class: "mono small" }, tail.map((line) => h("li", null, line)))) : null,
    view.dagster ? h("p", null, link(`${view.dagster}/assets/invariants_report?view=checks`, "The checks in Dagster")) : null,
  ].filter(Boolean);
}

export const noteProofs = (data) => (data.history.length > 1 ? `${data.history.length} nights` : "");

// Alerts

const FIRST = 5;
const SEVERITY = { P0: "critical", P1: "critical", P2: "warning", P3: "unknown" };
const isOpen = (alert) => ["firing", "acked"].includes(alert.state);

// Not more than so many are sent; how many there are is counted apart.
export const openOf = (data) => data.counts.firing + data.counts.acked;
export const worstOf = (data) => data.alerts.filter(isOpen).map((alert) => alert.severity).sort()[0] ?? null;
export const heldBy = (data) => (data.counts.firing ? (data.counts.acked ? ` · ${count(data.counts.firing)} nobody has` : "") : " · all in hand");

export function renderAlerts(data, view) {
  // What nobody has comes first, then the severest, then the oldest.
  const order = (a, b) => Boolean(a.acked_by) - Boolean(b.acked_by) || a.severity.localeCompare(b.severity) || String(a.fired_at).localeCompare(String(b.fired_at));
  const open = data.alerts.filter(isOpen).sort(order);
  if (!open.length) return [empty("Nothing is alarmed.")];
  const unsent = openOf(data) - open.length;
  const shown = view.all ? open : open.slice(0, FIRST);
  return [
    h(
      "ul",
      { class: "lines" },
      shown.map((alert) =>
        h(
          "li",
          { "data-key": `alert-${alert.rule}-${alert.subject}` },
          h("p", null, badge(SEVERITY[alert.severity] ?? "unknown", alert.severity), " ", h("b", null, words(alert.rule)), ` · ${alert.subject}`),
          h("p", null, alert.detail ?? figure(alert.value)),
          h("p", { class: "muted" }, `for ${age(alert.fired_at)}`, alert.acked_by ? ` · ${alert.acked_by} has it` : null),
          h(
            "p",
            { class: "buttons" },
            !alert.acked_by && alert.alert_id && view.may("projects.start") ? h("button", { type: "button", "data-act": "ack", "data-id": alert.alert_id, "data-rule": alert.rule }, "I have it …") : null,
            h("button", { type: "button", class: "quiet", "data-act": "runbook", "data-rule": alert.rule }, "What to do"),
          ),
        ),
      ),
    ),
    more("alerts", FIRST, open.length, view.all && open.length > FIRST),
    unsent > 0 ? h("p", { class: "muted" }, `${count(unsent)} more are not shown; `, code("plms alerts list"), " and the API tell them.") : null,
  ].filter(Boolean);
}

export const noteAlerts = (data) => (openOf(data) ? `${count(openOf(data))} open · ${count(data.counts.firing)} nobody has` : "");
