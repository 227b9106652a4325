// Bans with search: those of now, or of a period.

import { fill, h, stranger, table } from "./dom.js";
import { count, moment, number } from "./format.js";
import { banButton, unbanButton } from "./deeds.js";
import { addressLink, evidence, until, when } from "./parts.js";
import { get, live, problem } from "./server.js";

const AGAIN = 400;
const SORTS = [["since", "Newest first"], ["until", "Ends first"], ["address", "Address"], ["attempts", "Most attempts"], ["count", "Most often banned"], ["evidence", "Evidence"]];
const PERIODS = [["1h", "Last hour"], ["24h", "Last 24 hours"], ["7d", "Last 7 days"]];

export function banlist({ past }) {
  const content = document.getElementById("content");
  const query = Object.fromEntries(new URLSearchParams(location.search));
  query.from = Number(query.from) || 0;
  const result = h("div", {}, h("p", { class: "empty" }, "Asking sipguard.")), summary = h("p", { class: "soft", role: "status" });
  let jails = [], moves = null, asking = false, again = false, shown = "", banner = null;

  const select = (name, label, options) => h("div", {}, h("label", { for: name }, label),
    h("select", { id: name, name, onchange: changed }, options.map(([value, text]) => h("option", { value, selected: (query[name] ?? "") === value || null }, text))));
  const jail = select("jail", "Jail", [["", "All"]]);
  const form = h("form", { class: "search", role: "search", onsubmit: (event) => { event.preventDefault(); changed(); } },
    h("div", { class: "wide" }, h("label", { for: "search" }, "Address, network or user"),
      h("input", { id: "search", name: "search", type: "search", value: query.search ?? "", maxlength: 256, autocomplete: "off", spellcheck: "false", placeholder: "203.0.113. or 1000" })),
    jail,
    past ? select("since", "Period", PERIODS) : select("sort", "Order", SORTS),
    h("button", { class: "main", type: "submit" }, "Search"));
  if (past && !query.since) form.elements.since.value = "24h";

  function changed() {
    for (const name of ["search", "jail", "sort", "since"]) if (form.elements[name]) query[name] = form.elements[name].value.trim();
    query.from = 0;
    go();
  }

  function go() {
    const kept = Object.entries(query).filter(([, value]) => value);
    history.replaceState(null, "", kept.length ? `?${new URLSearchParams(kept)}` : location.pathname);
    load();
  }

  async function load(unasked = false) {
    if (asking) {
      again = true;
      return;
    }
    asking = true;
    try {
      const page = await get(past ? "/api/history" : "/api/bans", query, unasked);
      const text = JSON.stringify(page);
      if (text !== shown) {
        shown = text;
        show(page);
      }
    } catch (error) {
      shown = "";
      summary.textContent = "";
      fill(result, problem(error));
    }
    asking = false;
    if (again) {
      again = false;
      load(true);
    }
  }

  function show(page) {
    summary.textContent = page.total ? `${count(page.total, "ban")}${query.search || query.jail ? " found" : ""}` : "";
    const end = Math.min(page.total, page.from + page.bans.length);
    const turn = (text, from, off) => h("button", { type: "button", disabled: off, onclick: () => { query.from = Math.max(0, from); go(); window.scrollTo(0, 0); } }, text);
    fill(result,
      page.bans.length ? table("Bans", columns(past, () => load()), page.bans) : h("p", { class: "empty" }, query.search || query.jail ? "No ban matches." : "No bans."),
      page.total > page.bans.length ? h("div", { class: "pager" },
        turn("Earlier", page.from - 50, page.from === 0),
        h("span", { class: "soft" }, `${number(page.from + 1)} to ${number(end)} of ${number(page.total)}`),
        turn("Later", page.from + 50, end >= page.total)) : null);
  }

  banner = banButton(() => jails, null, () => load());
  fill(content, form, h("section", { class: "card", "aria-label": "Bans" }, h("div", { class: "head" }, summary, past ? null : banner), result));
  load();
  let waiting = false, moved = false;
  // At once for the first ban, then again and again while they come.
  const follow = () => {
    if (waiting || !moved) return;
    moved = false;
    waiting = true;
    load(true);
    setTimeout(() => { waiting = false; follow(); }, AGAIN);
  };
  live((view) => {
    if (!view.overview) return;
    const names = view.overview.jails.map((one) => one.name);
    if (names.join("\n") !== jails.join("\n")) {
      jails = names;
      const box = form.elements.jail, before = box.value || query.jail || "";
      fill(box, [["", "All"], ...names.map((name) => [name, name])].map(([value, text]) => h("option", { value, selected: value === before || null }, text)));
    }
    const now = `${view.overview.since} ${view.overview.moves}`;
    if (moves !== null && now !== moves) {
      moved = true;
      follow();
    }
    moves = now;
  });
}

function columns(past, done) {
  const users = (ban) => ban.users.length ? stranger(ban.users.slice(0, 5).join(" ") + (ban.user_count > 5 ? ` and ${ban.user_count - 5} more` : ""), 80) : "";
  return [
    { name: "Address", kind: "lead", cell: (ban) => addressLink(ban.address) },
    { name: "Jail", kind: "short", cell: (ban) => ban.jail },
    { name: "Since", kind: "short", cell: (ban) => past ? moment(ban.since) : when(ban.since) },
    past
      ? { name: "Ended", kind: "short", cell: (ban) => ban.ended === null ? h("span", { class: "tag bad" }, "banned now") : moment(ban.ended) }
      : { name: "Ends in", kind: "short", cell: (ban) => until(ban.until) },
    { name: "From", cell: (ban) => ban.origin },
    { name: "Users", cell: users },
    { name: "Why", kind: "full", cell: (ban) => h("span", {}, stranger(ban.reason, 120), ban.count > 1 ? ` (ban number ${ban.count})` : "") },
    { name: "Evidence", cell: (ban) => evidence(ban.evidence) },
    { name: "Unban", hidden: true, kind: "deed right", cell: (ban) => (past && ban.ended !== null ? "" : unbanButton(ban.address, done) ?? "") },
  ];
}
