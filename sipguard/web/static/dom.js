// Makes elements. Whatever is put into them is text: nothing here parses HTML.

export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((one) => one !== null && one !== undefined && one !== false).map(asNode));
  return element;
}

function asNode(one) {
  return one instanceof Node ? one : document.createTextNode(String(one));
}

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children.map(asNode));
  return element;
}

// Replaces what is in an element, as far as it has changed: what has the focus keeps it, what is unfolded stays so.
export function fill(element, ...children) {
  const nodes = children.flat(Infinity).filter(Boolean).map(asNode);
  const before = [...element.childNodes];
  if (before.length === nodes.length && nodes.every((node, n) => node.isEqualNode(before[n]))) return element;
  const focused = element.contains(document.activeElement) ? label(document.activeElement) : null;
  const open = new Set([...element.querySelectorAll("details[open] > summary")].map(label));
  element.replaceChildren(...nodes);
  for (const summary of open.size ? element.querySelectorAll("summary") : []) {
    if (open.has(label(summary))) summary.parentElement.open = true;
  }
  if (focused) {
    [...element.querySelectorAll("a, button, summary")].find((one) => label(one) === focused)?.focus({ preventScroll: true });
  }
  return element;
}

function label(element) {
  return [element.tagName, element.getAttribute("href"), element.getAttribute("aria-label"), element.textContent].join(" ");
}

// What strangers wrote: long texts are folded, and never change the direction of what stands beside them.
export function stranger(text, shown = 160) {
  const whole = String(text);
  if (whole.length <= shown) return h("bdi", { class: "line" }, whole);
  return h(
    "details",
    {},
    h("summary", {}, h("bdi", { class: "line" }, `${whole.slice(0, shown)}…`), ` (${whole.length.toLocaleString()} characters)`),
    h("bdi", { class: "line" }, whole),
  );
}

export function announce(text) {
  document.getElementById("announce").textContent = text;
}

// columns: [{ name, cell: (row) => content, kind }]; kind: lead, full, deed, short, right.
export function table(caption, columns, rows, key = () => "", fresh = new Set()) {
  if (!rows.length) return h("p", { class: "empty" }, "None.");
  return h(
    "table",
    { class: "rows", role: "table" },
    h("caption", { class: "unseen" }, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, columns.map((one) =>
      h("th", { scope: "col", role: "columnheader", class: /right/.test(one.kind ?? "") ? "right" : null },
        one.hidden ? h("span", { class: "unseen" }, one.name) : one.name)))),
    h("tbody", { role: "rowgroup" }, rows.map((row) =>
      h("tr", { role: "row", class: fresh.has(key(row)) ? "new" : null }, columns.map((one) => {
        const content = one.cell(row);
        const blank = content === "" || content === null || content === undefined;
        return h("td", { role: "cell", class: `${one.kind ?? ""}${blank ? " void" : ""}`, "data-label": one.name }, content);
      })))),
  );
}

export function choice(label, options, chosen, onchoose) {
  const buttons = options.map(([value, text]) =>
    h("button", { type: "button", "aria-pressed": String(value === chosen), onclick: () => {
      for (const one of buttons) one.setAttribute("aria-pressed", String(one === buttons[options.findIndex((o) => o[0] === value)]));
      onchoose(value);
    } }, text));
  return h("div", { class: "choice", role: "group", "aria-label": label }, buttons);
}
