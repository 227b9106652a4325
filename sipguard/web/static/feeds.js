// Lists of others, rejected before they knock.

import { fill, h, table } from "./dom.js";
import { moment, number } from "./format.js";
import { command, get, live, problem } from "./server.js";

const content = document.getElementById("content");

async function load(unasked = false) {
  try {
    const feeds = await get("/api/feeds", {}, unasked);
    fill(content, feeds.length ? h("section", { class: "card", "aria-label": "Feeds" }, table("Feeds", [
      { name: "Feed", kind: "lead", cell: (one) => h("strong", {}, one.name) },
      { name: "State", cell: (one) => one.held ? h("span", { class: "tag warning" }, "held") : one.problem ? h("span", { class: "tag bad" }, "not fetched") : one.applied ? h("span", { class: "tag good" }, "in force") : h("span", { class: "tag warning" }, "not yet in force") },
      { name: "Entries", kind: "right", cell: (one) => number(one.entries) },
      { name: "Networks", kind: "right", cell: (one) => number(one.networks) },
      { name: "Fetched", kind: "short", cell: (one) => moment(one.fetched) },
      { name: "Next", kind: "short", cell: (one) => one.next ? moment(one.next) : "now" },
      { name: "From", cell: (one) => one.source },
    ], feeds), feeds.filter((one) => one.held || one.problem).map((one) =>
      h("div", { class: "notice warning" }, h("p", {}, `${one.name}: ${one.held || one.problem}`), command(`sipguard feeds refresh ${one.name}${one.held ? " --accept" : ""}`))))
      : h("section", { class: "card" }, h("p", { class: "empty" }, "No feed is configured."), h("p", { class: "soft" }, "How to add one: docs/feeds.md")));
  } catch (error) {
    fill(content, problem(error));
  }
}

load();
setInterval(() => document.hidden || load(true), 15000);
live(() => {});
