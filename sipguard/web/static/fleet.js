// The other nodes, and CrowdSec.

import { fill, h, table } from "./dom.js";
import { count, moment, number } from "./format.js";
import { command, get, live, problem } from "./server.js";

const content = document.getElementById("content");

function head(name, told) {
  return h("div", { class: "head" }, h("h2", {}, name), told.problem ? h("span", { class: "tag bad" }, "not connected") : h("span", { class: "tag good" }, "connected"));
}

function notes(told) {
  return [
    told.problem ? h("div", { class: "notice bad" }, h("p", {}, told.problem)) : null,
    told.firewall ? h("div", { class: "notice bad" }, h("p", {}, `The firewall has not all of them: ${told.firewall}`), command("sipguard firewall verify")) : null,
    told.hint ? h("div", { class: "notice warning" }, h("p", {}, told.hint)) : null,
    Object.entries(told.ignored ?? {}).map(([why, many]) => h("p", { class: "soft" }, `${number(many)} not rejected here: ${why}`)),
  ];
}

function fleet(told) {
  return h("section", { class: "card" }, head(`Fleet, as ${told.name}`, told), notes(told),
    h("p", {}, `Shares ${told.share.join(", ") || "nothing"}: ${count(told.shared, "ban")}. Accepts ${told.accept.join(", ") || "nothing"}: ${count(told.rejected, "ban")} of others.`),
    table("Nodes", [
      { name: "Node", kind: "lead", cell: (one) => h("strong", {}, one.name) },
      { name: "State", cell: (one) => one.held ? h("span", { class: "tag warning", title: one.held }, "held") : h("span", { class: "tag good" }, "read") },
      { name: "Last heard", kind: "short", cell: (one) => moment(one.heard) },
      { name: "Bans", kind: "right", cell: (one) => number(one.bans) },
      { name: "Published", kind: "right", cell: (one) => one.published === null ? "" : number(one.published) },
      { name: "Lag", kind: "right short", cell: (one) => `${Math.round(one.lag * 1000)} ms` },
      { name: "Version", cell: (one) => one.version },
      { name: "Refused", cell: (one) => Object.entries(one.refused).map(([why, many]) => `${many}: ${why}`).join("; ") },
    ], told.nodes),
    told.nodes.filter((one) => one.held).map((one) => h("div", { class: "notice warning" }, h("p", {}, `${one.name} is held: ${one.held}`), command(`sipguard fleet accept ${one.name}`))));
}

function crowdsec(told) {
  return h("section", { class: "card" }, head("CrowdSec", told), notes(told),
    h("p", {}, `${count(told.decisions, "network")} of its decisions, ${number(told.refused)} refused; told it of ${count(told.told, "ban")}.`));
}

async function load(unasked = false) {
  try {
    const told = await get("/api/fleet", {}, unasked);
    fill(content, told?.fleet ? fleet(told.fleet) : null, told?.crowdsec ? crowdsec(told.crowdsec) : null,
      told ? null : h("section", { class: "card" }, h("p", { class: "empty" }, "This server shares its bans with no other."), h("p", { class: "soft" }, "How to: docs/fleet.md")));
  } catch (error) {
    fill(content, problem(error));
  }
}

load();
setInterval(() => document.hidden || load(true), 5000);
live(() => {});
