// Each jail: what it reads, what it counts, what it lacks.

import { fill, h, table } from "./dom.js";
import { count, moment, number, span } from "./format.js";
import { get, live, problem } from "./server.js";

const content = document.getElementById("content");
const cards = h("div", {}, h("p", { class: "empty" }, "Waiting for sipguard's first answer.")), advice = h("div");
let drawn = "";

const COUNTS = [
  ["failures", "Failures"], ["bans", "Bans"], ["successes", "Logins"], ["ignored", "Ignored"], ["repeated", "Told again"],
  ["unproven", "Unproven"], ["after_ban", "After their ban"], ["old", "Too old"], ["misconfigured", "Wrong settings of phones"], ["oversize", "Too long lines"],
];

function logs(jail) {
  const rows = Object.entries(jail.logs).map(([path, wrong]) => ({ path, wrong, lag: jail.lags[path] }));
  if (!rows.length) return h("p", { class: "soft" }, jail.events ? "Reads no log." : "Has no log to read.");
  return table(`Logs of ${jail.name}`, [
    { name: "Log", kind: "lead", cell: (one) => h("code", {}, one.path) },
    { name: "State", cell: (one) => one.wrong ? h("span", {}, h("span", { class: "tag bad" }, "not read"), ` ${one.wrong}`) : h("span", { class: "tag good" }, "followed") },
    { name: "Clock", cell: (one) => one.lag ? `${span(Math.abs(one.lag))} ${one.lag > 0 ? "behind" : "ahead"}` : "" },
  ], rows);
}

function events(jail) {
  const told = jail.events;
  if (!told) return null;
  return [h("dt", {}, "Events"), h("dd", {}, told.speaks ? h("span", { class: "tag good" }, "told") : h("span", { class: "tag bad" }, "not told"),
    ` ${told.url}: ${number(told.events)} read, ${number(told.tampered)} tampered${told.problem ? `; ${told.problem}` : ""}`)];
}

function card(jail) {
  const totals = COUNTS.filter(([name]) => jail.totals[name]);
  return h("section", { class: "card", "aria-labelledby": `jail-${jail.name}` },
    h("div", { class: "head" }, h("h2", { id: `jail-${jail.name}` }, jail.name),
      h("a", { href: `/bans?jail=${encodeURIComponent(jail.name)}` }, `${count(jail.banned, "address")} banned`)),
    jail.problem ? h("div", { class: "notice bad" }, h("p", {}, jail.problem)) : null,
    h("dl", { class: "facts" },
      h("dt", {}, "Filter"), h("dd", {}, jail.filter),
      h("dt", {}, "Bans"), h("dd", {}, `${jail.maxretry} failures within ${span(jail.findtime)}: ${jail.bantime === null ? "for good" : `for ${span(jail.bantime)}`}`),
      h("dt", {}, "Read"), h("dd", {}, `${count(jail.detection.lines ?? 0, "line")}, ${number(jail.detection.candidates ?? 0)} looked at, ${number(jail.detection.tampered ?? 0)} tampered`),
      h("dt", {}, "Counting"), h("dd", {}, count(jail.counting, "address")),
      totals.length ? [h("dt", {}, "Since the start"), h("dd", {}, totals.map(([name, text]) => `${text} ${number(jail.totals[name])}`).join(" · "))] : null,
      jail.totals.last_failure ? [h("dt", {}, "Last failure"), h("dd", {}, moment(jail.totals.last_failure))] : null,
      jail.log_choice ? [h("dt", {}, "This log"), h("dd", {}, jail.log_choice)] : null,
      events(jail)),
    h("div", { class: "gap" }, logs(jail)),
    jail.actions.length ? table(`Actions of ${jail.name}`, [
      { name: "Action", kind: "lead", cell: (one) => one.name },
      { name: "Done", kind: "right", cell: (one) => number(one.done) },
      { name: "Failed", kind: "right", cell: (one) => number(one.failed) },
      { name: "Waiting", kind: "right", cell: (one) => number(one.queued) },
      { name: "Problem", cell: (one) => one.problem ?? "" },
    ], jail.actions) : null);
}

function show(view) {
  if (!view.overview) return;
  const text = JSON.stringify(view.overview.jails);
  // Not while somebody has an element in the cards in focus or text marked there.
  if (text === drawn || cards.contains(document.activeElement) || (!getSelection().isCollapsed && cards.contains(getSelection().anchorNode))) return;
  drawn = text;
  fill(cards, view.overview.jails.length ? view.overview.jails.map(card) : h("p", { class: "empty" }, "No jail is running."));
}

async function advise() {
  try {
    const told = await get("/api/advice");
    const lines = [
      ...told.errors.map((one) => ["bad", one.where ? `${one.where}: ${one.what}` : one.what]),
      ...told.warnings.map((one) => ["warning", one]), ...told.advice.map((one) => ["warning", one]),
    ];
    fill(advice, h("section", { class: "card", "aria-labelledby": "advice" }, h("h2", { id: "advice" }, "Advice"),
      lines.length ? lines.map(([kind, line]) => h("div", { class: `notice ${kind}` }, h("p", {}, line)))
        : h("p", { class: "soft" }, "sipguard check has nothing to say about configuration and logs.")));
  } catch (error) {
    fill(advice, problem(error));
  }
}

fill(content, advice, cards);
advise();
live(show);
