// Attempts and bans over time: bars for eyes, a table for whoever reads with ears.

import { h, svg } from "./dom.js";
import { clock, count, number } from "./format.js";

const HEIGHT = 190, LEFT = 38, BOTTOM = 22, TOP = 8, LABEL = 75;

function nice(most) {
  const size = 10 ** Math.floor(Math.log10(Math.max(1, most)));
  return [1, 2, 5, 10].map((n) => n * size).find((n) => n >= most) ?? 10 * size;
}

// Sums of `step` minutes each.
function grouped(timeline, minutes, step) {
  const skip = timeline.attempts.length - minutes;
  const bars = [];
  for (let at = 0; at < minutes; at += step) {
    const part = (name) => timeline[name].slice(skip + at, skip + at + step).reduce((a, b) => a + b, 0);
    bars.push({ begin: timeline.begin + (skip + at) * 60, attempts: part("attempts"), bans: part("bans") });
  }
  return bars;
}

// `width`: pixels that it has.
export function chart(timeline, minutes, step, width) {
  const WIDTH = Math.max(240, width);
  const bars = grouped(timeline, minutes, step);
  const top = Math.max(4, nice(Math.max(...bars.map((bar) => Math.max(bar.attempts, bar.bans)))));
  const slot = (WIDTH - LEFT) / bars.length;
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
  const attempts = bars.reduce((sum, bar) => sum + bar.attempts, 0), bans = bars.reduce((sum, bar) => sum + bar.bans, 0);
  const each = Math.ceil(LABEL / slot);
  const picture = svg("svg", {
    class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img",
    "aria-label": `${count(attempts, "attempt")} and ${count(bans, "ban")} within ${minutes / 60} hours`,
  });
  for (const value of [0, top / 2, top]) {
    picture.append(svg("line", { class: "grid", x1: LEFT, x2: WIDTH, y1: y(value), y2: y(value) }));
    picture.append(svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, number(value)));
  }
  bars.forEach((bar, n) => {
    const x = LEFT + n * slot, wide = Math.max(1, slot * 0.72);
    const group = svg("g", {}, svg("title", {}, `${clock(bar.begin)}: ${count(bar.attempts, "attempt")}, ${count(bar.bans, "ban")}`));
    const draw = (name, at, size) => {
      if (bar[name]) group.append(svg("rect", { class: name, x: at, width: size, y: y(bar[name]), height: y(0) - y(bar[name]), rx: 1.5 }));
    };
    group.append(svg("rect", { x, width: slot, y: TOP, height: y(0) - TOP, fill: "transparent" }));
    draw("attempts", x, wide);
    draw("bans", x + wide * 0.3, wide * 0.4);
    picture.append(group);
    if (n % each === 0 && x < WIDTH - LABEL / 2) picture.append(svg("text", { x, y: HEIGHT - 5 }, clock(bar.begin)));
  });
  const busy = bars.filter((bar) => bar.attempts || bar.bans).reverse();
  return h("div", {},
    picture,
    h("p", { class: "legend" },
      h("span", {}, h("i"), count(attempts, "attempt")), h("span", { class: "bans" }, h("i"), count(bans, "ban"))),
    h("div", { class: "unseen" }, h("table", {},
      h("caption", {}, "Attempts and bans, the latest first"),
      h("thead", {}, h("tr", {}, ["from", "attempts", "bans"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, busy.slice(0, 60).map((bar) => h("tr", {}, h("td", {}, clock(bar.begin)), h("td", {}, bar.attempts), h("td", {}, bar.bans)))))));
}
