// How does a person decide: seeing the evidence, saying why, and told what came of it?

import { get, send } from "./api.js";
import { h } from "./dom.js";
import { words } from "./format.js";
import { refusal, skeleton } from "./parts.js";
import { shown } from "./evidence.js";

const element = () => document.getElementById("dialog");
const told = () => document.getElementById("told");
let opened = 0;

export function say(text) {
  told().textContent = "";
  requestAnimationFrame(() => { told().textContent = text; });
}

export function close() {
  opened += 1;
  if (element().open) element().close();
}

function field(one) {
  const id = `field-${one.name}`;
  if (one.kind === "flag") return h("p", { class: "check" }, h("input", { type: "checkbox", id, name: one.name, checked: one.value === true }), h("label", { for: id }, one.label));
  if (one.kind === "choice")
    return [h("label", { for: id }, one.label), h("select", { id, name: one.name }, one.choices.map((choice) => h("option", { value: choice, selected: choice === one.value }, words(choice))))];
  if (one.kind === "usd")
    return [h("label", { for: id }, `${one.label} (USD)`), h("input", { id, name: one.name, type: "number", min: "0", max: "99999999", step: "any", required: true, inputmode: "decimal", value: one.value ?? "" })];
  return [h("label", { for: id }, one.label), h("input", { id, name: one.name, type: "text", required: one.required !== false, value: one.value ?? "", maxlength: "200" })];
}

function frame(title, ...content) {
  const box = element();
  box.replaceChildren(
    h("header", null, h("h2", { id: "dialog-title" }, title), h("button", { type: "button", class: "quiet", "data-act": "close", "aria-label": "Close" }, "×")),
    h("div", { class: "inside" }, ...content),
  );
  if (!box.open) box.showModal();
  return box;
}

// Evidence, read when it is needed: what is decided about is what stood here.
async function look(path, into, mine) {
  into.replaceChildren(skeleton(5));
  try {
    const found = await get(path);
    if (mine === opened) into.replaceChildren(...shown(found).flat(Infinity).filter(Boolean));
    return found;
  } catch (problem) {
    if (mine === opened) into.replaceChildren(refusal(problem, "dialog"));
    return null;
  }
}

export async function show(title, path) {
  opened += 1;
  const box = h("div", { class: "evidence" });
  frame(title, box);
  await look(path, box, opened);
}

export function tell(title, ...content) {
  opened += 1;
  frame(title, ...content);
}

// action: {label, path, body, tone, asks_reason, binds_evidence, fields}; what: what is decided, for the title.
export async function decide(what, action, lookAt, done) {
  opened += 1;
  const mine = opened;
  const evidence = h("div", { class: "evidence" });
  const error = h("div", { class: "answer" });
  const needsReason = action.asks_reason;
  const press = h("button", { type: "submit", class: action.tone === "danger" ? "danger" : "primary", disabled: Boolean(action.binds_evidence && lookAt) }, action.label);
  const form = h(
    "form",
    { method: "dialog", id: "decision" },
    (action.fields ?? []).map(field),
    needsReason ? [h("label", { for: "reason" }, "Why? It is kept for ever."), h("textarea", { id: "reason", name: "reason", rows: "3", maxlength: "4000", required: true })] : null,
    error,
    h("p", { class: "buttons" }, press, h("button", { type: "button", class: "quiet", "data-act": "close" }, "Cancel")),
  );
  frame(what, lookAt ? evidence : null, form);
  (form.querySelector("input, select, textarea") ?? press).focus();
  const found = lookAt ? await look(lookAt, evidence, mine) : null;
  if (mine !== opened) return;
  // Without the evidence there is no digest of it, and nobody decides about what he has not seen.
  if (!action.binds_evidence || found?.evidence_sha256) press.disabled = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const reason = form.elements.reason?.value.replace(/\s+/g, " ").trim();
    if (needsReason && !reason) {
      form.elements.reason.value = "";
      form.elements.reason.reportValidity();
      return;
    }
    press.disabled = true;
    press.setAttribute("aria-busy", "true");
    try {
      await send(action.method ?? "POST", action.path, bodyOf(action, form, reason, found));
      if (mine === opened) close();
      say(`Done: ${what}, ${action.label}.`);
      done();
    } catch (problem) {
      error.replaceChildren(refusal(problem, "dialog"));
      error.querySelector("button")?.remove();
      press.disabled = false;
    } finally {
      press.removeAttribute("aria-busy");
    }
  });
}

function bodyOf(action, form, reason, found) {
  const body = { ...(action.body ?? {}) };
  for (const one of action.fields ?? []) {
    const input = form.elements[one.name];
    if (one.kind === "flag") body[one.name] = input.checked;
    else if (one.kind === "usd") body[one.name] = Number(input.value);
    else if (one.convert) Object.assign(body, one.convert(input.value));
    else body[one.name] = input.value;
  }
  if (action.asks_reason) body.reason = reason;
  if (action.binds_evidence && found) body.evidence_sha256 = found.evidence_sha256;
  return Object.keys(body).length ? body : null;
}
