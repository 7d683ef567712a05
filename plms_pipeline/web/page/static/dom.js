// How is the page built, and changed without losing what somebody is doing in it?
// Everything that comes from outside becomes text, never markup; the server's policy forbids the other way besides.

const SVG = "http://www.w3.org/2000/svg";
const FLAGS = new Set(["hidden", "disabled", "required", "open", "checked", "selected"]);

function put(element, props) {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) throw new Error("listeners are set where the page begins");
    if (FLAGS.has(name)) element.setAttribute(name, "");
    else element.setAttribute(name, String(value));
  }
}

function add(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  put(element, props);
  return add(element, children);
}

export function svg(tag, props, ...children) {
  const element = document.createElementNS(SVG, tag);
  put(element, props);
  return add(element, children);
}

// Names of many words may be broken after each of them, and only there.
export const breakable = (text) => String(text).split(/(?<=_)/).flatMap((part) => [part, h("wbr", null)]).slice(0, -1);

export const hidden = (...text) => h("span", { class: "hidden" }, ...text);

// A link leads to this server or to a page over http; whatever else an address holds is shown as text.
export function link(address, text, props) {
  const isPath = /^[/#](?!\/)/.test(address || "");
  const isPage = /^https?:\/\//.test(address || "");
  if (!isPath && !isPage) return h("span", null, text);
  const outside = isPage ? { rel: "noopener noreferrer", target: "_blank" } : {};
  return h("a", { href: address, ...outside, ...props }, text, isPage ? hidden(" (opens in a new tab)") : null);
}

const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("data-key") : null);

function same(a, b) {
  if (a.nodeType !== b.nodeType) return false;
  return a.nodeType !== Node.ELEMENT_NODE || (a.tagName === b.tagName && keyOf(a) === keyOf(b));
}

function attributes(from, to) {
  for (const { name } of [...from.attributes]) {
    // Whether a person has opened something is the person's business.
    if (!to.hasAttribute(name) && !(name === "open" && from.tagName === "DETAILS")) from.removeAttribute(name);
  }
  for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
}

// Make `parent` hold `wanted`, keeping every node that may stay: focus, scroll and open details survive.
export function become(parent, wanted) {
  const keyed = new Map();
  for (const node of parent.childNodes) if (keyOf(node) !== null) keyed.set(keyOf(node), node);
  let at = parent.firstChild;
  for (const next of wanted) {
    const key = keyOf(next);
    let have = key !== null ? keyed.get(key) : at;
    while (key === null && have && keyOf(have) !== null) have = have.nextSibling;
    if (have && have.parentNode === parent && same(have, next)) {
      if (have !== at) parent.insertBefore(have, at);
      else at = at.nextSibling;
      if (!have.isEqualNode(next)) {
        if (have.nodeType === Node.TEXT_NODE) have.data = next.data;
        else {
          attributes(have, next);
          become(have, [...next.childNodes]);
        }
      }
    } else parent.insertBefore(next, at);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}
