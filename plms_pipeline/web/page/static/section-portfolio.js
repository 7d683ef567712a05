// What runs and waits in each lane, and why does a task wait?

import { h, svg } from "./dom.js";
import { count, seconds, words } from "./format.js";
import { bar, empty, table } from "./parts.js";

const MOST_PIPS = 16;

function pips(running, cap) {
  const drawn = Array.from({ length: Math.max(cap, running) }, (_, place) =>
    svg("rect", { x: place * 7, y: 0, width: 5, height: 12, rx: 1, class: place < running ? (place < cap ? "pip-on" : "pip-over") : "pip-off" }),
  );
  return svg("svg", { class: "pips", viewBox: `0 0 ${Math.max(cap, running) * 7} 12`, "aria-hidden": "true" }, drawn);
}

function slots(lane) {
  const said = lane.is_active ? `${lane.running} of ${lane.cap}` : "switched off";
  const drawn = !lane.cap && !lane.running ? null : Math.max(lane.cap, lane.running) <= MOST_PIPS ? pips(lane.running, lane.cap) : bar([[lane.utilization, "fill-busy"]], said);
  return h("div", { class: "slots" }, h("span", { class: "figure" }, said), drawn);
}

const why = (lane) => Object.entries(lane.reasons).map(([reason, number]) => h("span", { class: "chip" }, `${words(reason)} ${number}`));

function lanes(data) {
  return table(
    "Lanes",
    [["Lane"], ["Slots in use"], ["Waiting", { class: "number" }], ["Ready", { class: "number" }], ["Oldest waits", { class: "number" }], ["Why the first ones wait"]],
    data.lanes.map((lane) => ({
      key: `lane-${lane.lane_id}`,
      cells: [
        h("div", { class: "named" }, h("span", null, lane.name), h("span", { class: "muted" }, String(lane.lane_id))),
        slots(lane),
        count(lane.waiting),
        count(lane.ready),
        lane.waiting ? seconds(lane.oldest_wait_s) : "–",
        h("div", { class: "chips" }, lane.waiting ? why(lane) : h("span", { class: "muted" }, "nothing waits")),
      ],
    })),
    { class: "lanes" },
  );
}

function queue(data) {
  if (!data.queue.length) return null;
  return h(
    "details",
    { class: "queue", "data-key": "queue" },
    h("summary", null, `The first ${data.queue.length} of ${count(data.waiting)} tasks that wait`),
    table(
      "Tasks that wait",
      [["Task"], ["Project"], ["Lane", { class: "number" }], ["Place", { class: "number" }], ["Waits", { class: "number" }], ["Because"]],
      data.queue.map((task) => ({
        key: `queued-${task.run_id}-${task.task_id}-${task.attempt}`,
        cells: [task.task_id, `${task.project} (#${task.project_id})`, String(task.lane_id), task.place === null ? "–" : String(task.place), seconds(task.waited_s), task.detail],
      })),
    ),
  );
}

export function render(data) {
  if (!data.lanes.length) return [empty("There are no lanes.")];
  return [lanes(data), queue(data)].filter(Boolean);
}

export const capacity = (data) => data.lanes.reduce((sum, lane) => sum + lane.cap, 0);
export const note = (data) => `${count(data.running)} of ${count(capacity(data))} slots in use · ${count(data.waiting)} waiting`;
