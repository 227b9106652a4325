// What several pages show in the same way.

import { h } from "./dom.js";
import { left, moment, since } from "./format.js";

export function addressLink(address) {
  return h("a", { class: "address", href: `/address?address=${encodeURIComponent(address)}` }, address);
}

const CLASSES = {
  proven: ["good", "proven: its packets prove the address"],
  lent: ["good", "lent: it gave another the server's nonce"],
  corroborated: ["good", "corroborated: log and packets agree"],
  reported: ["", "reported: a log or event says so"],
  unproven: ["warning", "unproven: it may be anybody's"],
  contradicted: ["warning", "contradicted: the packets say otherwise"],
  hand: ["", "by hand"],
};

export function evidence(name) {
  if (!name) return "";
  const [kind, meaning] = CLASSES[name] ?? ["", name];
  return h("span", { class: `tag ${kind}`, title: meaning }, name === "hand" ? "by hand" : name);
}

export function when(time) {
  return h("time", { datetime: new Date(time * 1000).toISOString(), title: moment(time), "data-since": time }, since(time));
}

export function until(time) {
  if (time === null) return "for good";
  return h("time", { datetime: new Date(time * 1000).toISOString(), title: moment(time), "data-until": time }, left(time));
}

setInterval(() => {
  for (const one of document.querySelectorAll("time[data-since]")) one.textContent = since(Number(one.dataset.since));
  for (const one of document.querySelectorAll("time[data-until]")) one.textContent = left(Number(one.dataset.until));
}, 1000);
