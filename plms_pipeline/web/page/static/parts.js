// Of which small parts is every section made?

import { h, svg, hidden } from "./dom.js";
import { words } from "./format.js";

// A state is told by word and shape; the colour only repeats it.
export const badge = (level, text) => h("span", { class: `badge ${level}` }, words(text ?? level));

export const empty = (what, ...remedy) => h("div", { class: "empty" }, h("p", null, what), remedy.length ? h("p", { class: "muted" }, ...remedy) : null);

export const code = (text) => h("code", null, text);

export function skeleton(lines = 4) {
  const bars = Array.from({ length: lines }, (_, place) => h("span", { class: `bone bone-${place % 3}` }));
  return h("div", { class: "skeleton", "aria-hidden": "true" }, ...bars);
}

export function refusal(problem, section) {
  const again = h("button", { type: "button", "data-act": "again", "data-section": section }, "Try again");
  const told = problem.status === 403 ? "Your role may not see this." : problem.message;
  const id = problem.requestId ? h("span", { class: "muted" }, ` · ${problem.code} · request ${problem.requestId.slice(0, 8)}`) : h("span", { class: "muted" }, ` · ${problem.code}`);
  return h("div", { class: "refusal", role: "alert" }, h("p", null, told, id), problem.status === 403 ? null : again);
}

// columns: [text, {class, hint}] ; rows: arrays of cells (nodes or text) with a key.
export function table(label, columns, rows, props = {}) {
  const head = h(
    "tr",
    { role: "row" },
    columns.map(([text, extra]) => h("th", { scope: "col", role: "columnheader", ...extra }, text)),
  );
  const body = rows.map(({ key, cells, ...extra }) =>
    h(
      "tr",
      { role: "row", "data-key": key, ...extra },
      cells.map((cell, place) => {
        const [text, more] = columns[place];
        const about = { role: place ? "cell" : "rowheader", "data-label": typeof text === "string" ? text : "", class: more?.class };
        return place ? h("td", about, cell) : h("th", { scope: "row", ...about }, cell);
      }),
    ),
  );
  return h(
    "div",
    { class: "scroll", role: "region", tabindex: "0", "aria-label": label },
    h("table", { role: "table", "aria-label": label, ...props }, h("thead", { role: "rowgroup" }, head), h("tbody", { role: "rowgroup" }, body)),
  );
}

// Parts of a whole as one bar: [share, class]. Shares above the whole are cut; the numbers stand beside it.
export function bar(parts, label) {
  let at = 0;
  const drawn = parts.map(([share, kind]) => {
    const width = Math.max(0, Math.min(1 - at, Number.isFinite(share) ? share : 0));
    const part = svg("rect", { x: at * 100, y: 0, width: width * 100, height: 6, class: kind });
    at += width;
    return part;
  });
  return svg(
    "svg",
    { class: "bar", viewBox: "0 0 100 6", preserveAspectRatio: "none", role: "img", "aria-label": label },
    svg("rect", { x: 0, y: 0, width: 100, height: 6, class: "bar-ground" }),
    drawn,
  );
}

// Where on the scale of the gauge some minutes lie: what is near is drawn large.
const MARKS = [[0, 0], [5, 22], [15, 48], [30, 72], [60, 94], [Infinity, 100]];
export function place(minutes) {
  for (let i = 1; i < MARKS.length; i += 1) {
    const [low, from] = MARKS[i - 1];
    const [high, to] = MARKS[i];
    if (minutes <= high) return Number.isFinite(high) ? from + ((minutes - low) / (high - low)) * (to - from) : Math.min(100, from + (minutes - low) / 60);
  }
  return 100;
}

export function gauge(minutes, interval, level) {
  const zones = [[0, 22, "zone-critical"], [22, 48, "zone-warning"], [48, 72, "zone-near"], [72, 100, "zone-ok"]];
  const drawn = zones.map(([from, to, kind]) => svg("rect", { x: from, y: 5, width: to - from - 0.6, height: 6, class: kind }));
  if (minutes !== null && interval) {
    const low = place(interval[0]);
    const high = interval[1] === null ? 100 : place(interval[1]);
    drawn.push(svg("rect", { x: low, y: 7, width: Math.max(0.8, high - low), height: 2, class: "whisker" }));
  }
  if (minutes !== null) drawn.push(svg("rect", { x: Math.min(98.4, Math.max(0, place(minutes) - 0.8)), y: 1, width: 1.6, height: 14, class: `needle ${level}` }));
  return svg("svg", { class: "gauge", viewBox: "0 0 100 16", preserveAspectRatio: "none", "aria-hidden": "true" }, drawn);
}

export function spark(values, label) {
  const top = Math.max(...values, 0.01);
  const step = values.length > 1 ? 96 / (values.length - 1) : 0;
  const points = values.map((value, index) => [2 + index * step, 26 - (value / top) * 22]);
  const [x, y] = points[points.length - 1];
  return svg(
    "svg",
    { class: "spark", viewBox: "0 0 100 28", preserveAspectRatio: "none", role: "img", "aria-label": label },
    svg("polyline", { points: points.map((point) => point.join(",")).join(" "), class: "spark-line" }),
    svg("rect", { x: x - 1.2, y: y - 3, width: 2.4, height: 6, class: "spark-end" }),
  );
}

export const more = (section, shown, all, isAll) =>
  all > shown || isAll
    ? h("p", { class: "more" }, h("button", { type: "button", "data-act": "more", "data-section": section, "aria-expanded": String(isAll) }, isAll ? "Show fewer" : `Show all ${all}`))
    : null;

export const tasksOf = (tasks) => {
  const all = tasks.done + tasks.failed + tasks.running + tasks.waiting + tasks.skipped;
  const said = [`${tasks.done} of ${all} done`];
  if (tasks.running) said.push(`${tasks.running} running`);
  if (tasks.failed) said.push(`${tasks.failed} failed`);
  const share = (n) => (all ? n / all : 0);
  return h(
    "span",
    { class: "progress" },
    bar([[share(tasks.done), "fill-ok"], [share(tasks.failed), "fill-critical"], [share(tasks.running), "fill-busy"]], said.join(", ")),
    h("span", { class: "figures", "aria-hidden": "true" }, `${tasks.done}/${all}`, tasks.failed ? h("span", { class: "failed" }, ` · ${tasks.failed} failed`) : null),
  );
};

export { hidden };
