// The overview: is all well, who attacks, who is rejected.

import { announce, choice, fill, h, table } from "./dom.js";
import { count, number, span } from "./format.js";
import { addressLink, evidence, until, when } from "./parts.js";
import { chart } from "./chart.js";
import { command, live } from "./server.js";

const content = document.getElementById("content");
// What mends it is a command for a shell, or a sentence.
const COMMAND = /^(sipguard|systemctl|df|ls) /;

const parts = Object.fromEntries(["state", "health", "tiles", "chart", "latest", "networks", "jails"].map((name) => [name, h("div")]));
let timeline = null, hours = 1, known = null, drawn = "", said = "";

function build() {
  fill(content,
    parts.state, parts.health, parts.tiles,
    h("div", { class: "columns" },
      h("div", {},
        h("section", { class: "card", "aria-labelledby": "over-time" },
          h("div", { class: "head" }, h("h2", { id: "over-time" }, "Attempts over time"),
            choice("Period", [[1, "1 hour"], [24, "24 hours"]], hours, (value) => { hours = value; drawn = ""; draw(); })),
          parts.chart),
        h("section", { class: "card", "aria-labelledby": "latest" },
          h("div", { class: "head" }, h("h2", { id: "latest" }, "Latest bans"), h("a", { href: "/bans" }, "All bans")),
          parts.latest)),
      h("div", {},
        h("section", { class: "card", "aria-labelledby": "from" }, h("h2", { id: "from" }, "Where from"), parts.networks),
        h("section", { class: "card", "aria-labelledby": "jails" },
          h("div", { class: "head" }, h("h2", { id: "jails" }, "Jails"), h("a", { href: "/jails" }, "Details")), parts.jails))));
}

function draw() {
  if (!timeline) return;
  const width = parts.chart.clientWidth;
  if (!width) return;
  const text = JSON.stringify([hours, width, timeline]);
  if (text === drawn) return;
  drawn = text;
  fill(parts.chart, chart(timeline, hours * 60, hours === 1 ? 1 : 20, width));
}

function minute(one) {
  if (!timeline) return;
  const behind = (one.begin - timeline.begin) / 60 - timeline.attempts.length + 1;
  for (let n = 0; n < behind && n < 1440; n += 1) {
    for (const name of ["attempts", "bans"]) timeline[name] = [...timeline[name].slice(1), 0];
    timeline.begin += 60;
  }
  const at = (one.begin - timeline.begin) / 60;
  for (const name of ["attempts", "bans"]) timeline[name][at] = one[name][0];
}

function state(view) {
  const bad = view.health.some((one) => one.level === "bad");
  const busiest = [...view.overview.jails].filter((one) => one.banned).sort((a, b) => b.banned - a.banned)[0];
  const protectedBy = `${count(view.overview.working.length, "jail")} at work for ${span(Date.now() / 1000 - view.overview.since)}.`;
  let kind = "good", mark = "✓", title = "All quiet", text = protectedBy;
  if (bad) [kind, mark, title, text] = ["bad", "!", "Something is wrong", "See below what, and what mends it."];
  if (view.attack) {
    [kind, mark, title] = ["busy", "⚡", "Under attack"];
    text = `${count(view.lately.attempts, "attempt")} and ${count(view.lately.bans, "ban")} within the last two minutes${busiest ? `, most bans in ${busiest.name}` : ""}.`;
    if (bad) [kind, text] = ["bad", `${text} And something is wrong: see below.`];
  }
  if (title !== said) announce(title);
  said = title;
  return h("div", { class: `state ${kind}` }, h("div", { class: "mark", "aria-hidden": "true" }, mark),
    h("div", {}, h("strong", {}, title), h("span", {}, text)));
}

function latest(bans) {
  const key = (ban) => `${ban.jail} ${ban.address}`;
  const fresh = new Set(known ? bans.map(key).filter((one) => !known.has(one)) : []);
  known = new Set(bans.map(key));
  if (!bans.length) return h("p", { class: "empty" }, "Nobody is banned.");
  return table("Latest bans", [
    { name: "Address", kind: "lead", cell: (ban) => addressLink(ban.address) },
    { name: "Jail", cell: (ban) => ban.jail },
    { name: "Since", kind: "short", cell: (ban) => when(ban.since) },
    { name: "Ends in", kind: "short", cell: (ban) => until(ban.until) },
    { name: "Evidence", cell: (ban) => evidence(ban.evidence) },
  ], bans.slice(0, 12), key, fresh);
}

function networks(found) {
  if (!found.length) return h("p", { class: "empty" }, "Nobody is banned.");
  const most = found[0].bans;
  return h("ul", { class: "bars" }, found.map((one) =>
    h("li", {}, h("div", { class: "row" },
      one.network ? h("a", { class: "address", href: `/bans?search=${encodeURIComponent(one.network)}` }, one.name) : h("span", {}, one.name),
      h("span", {}, count(one.bans, "ban"))),
    h("meter", { min: 0, max: most, value: one.bans, "aria-label": `${one.name}: ${count(one.bans, "ban")}` }))));
}

function show(view) {
  if (!view.overview) {
    fill(content, h("p", { class: "empty" }, "Waiting for sipguard's first answer."));
    return;
  }
  if (!parts.state.isConnected) build();
  const banned = view.overview.jails.reduce((sum, one) => sum + one.banned, 0);
  fill(parts.state, state(view));
  fill(parts.health, view.health.map((one) => h("div", { class: `notice ${one.level}` }, h("p", {}, one.text), COMMAND.test(one.mend) ? command(one.mend) : h("p", {}, one.mend))));
  fill(parts.tiles, h("dl", { class: "tiles" }, [
    ["Banned now", banned], ["Attempts, last hour", view.hour.attempts], ["Bans, last hour", view.hour.bans], ["Bans, 24 hours", view.day.bans],
  ].map(([name, value]) => h("div", { class: "tile" }, h("dt", {}, name), h("dd", {}, number(value))))));
  minute(view.minute);
  draw();
  fill(parts.latest, latest(view.overview.latest));
  fill(parts.networks, networks(view.networks));
  fill(parts.jails, table("Jails", [
    { name: "Jail", kind: "lead", cell: (jail) => jail.name },
    { name: "Banned", kind: "right", cell: (jail) => number(jail.banned) },
    { name: "Counting", kind: "right", cell: (jail) => number(jail.counting) },
  ], view.overview.jails));
}

new ResizeObserver(draw).observe(content);
live(show, (told) => { timeline = told; drawn = ""; draw(); });
