// One address: why it is, was or is not banned, line by line.

import { fill, h, stranger, table } from "./dom.js";
import { count, moment, number } from "./format.js";
import { banButton, unbanButton } from "./deeds.js";
import { evidence, until } from "./parts.js";
import { get, live, problem } from "./server.js";

const content = document.getElementById("content");
const asked = new URLSearchParams(location.search).get("address") ?? "";
const result = h("div");
let jails = [], moves = null;

const form = h("form", { class: "search one", role: "search", action: "/address" },
  h("div", { class: "wide" }, h("label", { for: "address" }, "Address"),
    h("input", { id: "address", name: "address", type: "search", value: asked, required: true, autocomplete: "off", spellcheck: "false" })),
  h("button", { class: "main", type: "submit" }, "Explain"));

async function load(unasked = false) {
  if (!asked) return;
  try {
    const story = await get("/api/address", { address: asked }, unasked);
    document.getElementById("title").textContent = story.address;
    document.title = `${story.address} · sipguard`;
    show(story);
  } catch (error) {
    fill(result, problem(error));
  }
}

function verdict(story) {
  const rejecting = [...story.feeds, ...story.fleet].filter((one) => one.rejected);
  const ban = story.bans[0];
  if (ban) {
    const part = ban.address === story.address ? "" : `, as part of ${ban.address}`;
    return ["bad", "✕", `Banned by ${story.bans.map((one) => one.jail).join(", ")}${part}`, h("span", {}, stranger(ban.reason, 300))];
  }
  if (rejecting.length) return ["bad", "✕", "Rejected", `by ${rejecting.map((one) => one.feed ?? one.node).join(", ")}`];
  const ignored = Object.values(story.ignored)[0];
  if (ignored) return ["good", "✓", "Never banned", ignored];
  return ["good", "✓", "Not banned", Object.keys(story.counts).length ? "Some of its attempts count: see below." : "Nothing counts against it."];
}

function facts(story) {
  const rows = [];
  for (const ban of story.bans) {
    rows.push([ban.jail, [`since ${moment(ban.since)}, ends `, ban.until === null ? "never" : h("span", {}, "in ", until(ban.until)), ". ",
      ban.count > 1 ? `Ban number ${ban.count}. ` : "", evidence(ban.evidence)]]);
  }
  if (story.rejected !== null) rows.push(["Rejected since", count(story.rejected, "packet")]);
  for (const [jail, [has, most]] of Object.entries(story.counts)) rows.push([`Counted by ${jail}`, `${number(has)} of ${number(most)} failures`]);
  for (const [jail, why] of Object.entries(story.ignored)) rows.push([`Never banned by ${jail}`, why]);
  for (const feed of story.feeds) rows.push([`Feed ${feed.feed}`, `${feed.network}, until ${moment(feed.until)}${feed.rejected ? "" : `; not rejected: ${feed.because}`}`]);
  for (const one of story.fleet) {
    rows.push([`Node ${one.node}`, h("span", {}, `${one.network}, until ${moment(one.until)} `, evidence(one.evidence), one.rejected ? "" : ` not rejected: ${one.because || "not yet"}`, " ", stranger(one.reason ?? ""))]);
  }
  return rows.length ? h("section", { class: "card", "aria-label": "Facts" }, h("dl", { class: "facts" }, rows.map(([name, text]) => [h("dt", {}, name), h("dd", {}, text)]))) : null;
}

// The daemon writes the class in front of a line that has one.
const CLASS = /^(proven|lent|corroborated|reported|unproven|contradicted): /;

function events(story) {
  const classed = (one, other) => {
    const found = CLASS.exec(one.line);
    return { ...one, class: found?.[1] ?? other, line: found ? one.line.slice(found[0].length) : one.line };
  };
  const rows = [...story.attempts.map((one) => classed(one, "")), ...story.doubts.map((one) => classed(one, "unproven"))]
    .sort((a, b) => b.time - a.time);
  const regexes = new Map();
  for (const one of story.attempts) if (one.failregex) regexes.set(`${one.jail}, regex ${one.regex + 1}`, one.failregex);
  return h("section", { class: "card", "aria-labelledby": "events" }, h("h2", { id: "events" }, `What it did: ${count(rows.length, "attempt")}`),
    table("Attempts, the latest first", [
      { name: "When", kind: "short", cell: (one) => moment(one.time) },
      { name: "Jail", kind: "short", cell: (one) => one.jail },
      { name: "User", cell: (one) => one.user ? stranger(one.user, 60) : "" },
      { name: "What", kind: "words", cell: (one) => one.reason ?? "" },
      { name: "Class", cell: (one) => one.class ? evidence(one.class) : h("span", { class: "tag" }, "counted") },
      { name: "Line, packet or event", kind: "full", cell: (one) => one.line ? stranger(one.line, 240) : "" },
    ], rows.slice(0, 500)),
    rows.length > 500 ? h("p", { class: "soft" }, `The latest 500 of ${number(rows.length)}.`) : null,
    regexes.size ? h("details", {}, h("summary", {}, "What matched"), h("dl", { class: "facts" }, [...regexes].map(([name, text]) => [h("dt", {}, name), h("dd", {}, h("code", {}, text))]))) : null);
}

function show(story) {
  const [kind, mark, title, text] = verdict(story);
  const deeds = [...new Set(story.bans.map((ban) => ban.address))].map((address) => unbanButton(address, () => load())).filter(Boolean);
  const ban = story.bans.length ? null : banButton(() => jails, story.address, () => load());
  fill(result,
    h("div", { class: `state ${kind}`, role: "status" }, h("div", { class: "mark", "aria-hidden": "true" }, mark), h("div", {}, h("strong", {}, title), h("span", {}, text))),
    deeds.length || ban ? h("p", { class: "actions" }, deeds, ban) : null,
    facts(story),
    events(story),
    story.earlier.length ? h("section", { class: "card", "aria-labelledby": "earlier" }, h("h2", { id: "earlier" }, "Earlier bans"),
      table("Earlier bans", [
        { name: "Jail", kind: "lead", cell: (one) => one.jail },
        { name: "From", cell: (one) => moment(one.since) },
        { name: "To", cell: (one) => moment(one.until) },
        { name: "Why", kind: "full", cell: (one) => stranger(one.reason) },
      ], story.earlier)) : null);
}

fill(content, form, result);
load();
live((view) => {
  if (!view.overview) return;
  jails = view.overview.jails.map((one) => one.name);
  const now = `${view.overview.since} ${view.overview.moves}`;
  if (moves !== null && now !== moves) load(true);
  moves = now;
});
