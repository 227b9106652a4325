// Questions to our own server, and the live view. A session that is over leads to the login.

import { fill, h } from "./dom.js";
import { clock } from "./format.js";

const meta = (name) => document.querySelector(`meta[name="${name}"]`).content;

export const maywrite = meta("write") === "yes";
document.getElementById("mode").textContent = maywrite ? "may ban and unban" : "shows only";

export function login() {
  location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
}

async function answer(response) {
  if (response.status === 401) {
    login();
    return new Promise(() => {});
  }
  const told = await response.json().catch(() => ({ error: `the page's server answers ${response.status}` }));
  if (!response.ok) throw Object.assign(new Error(told.error), { mend: told.mend, status: response.status });
  return told;
}

async function fetched(path, options) {
  try {
    return await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
  } catch {
    throw new Error("the page's server does not answer; start it with: systemctl start sipguard-web");
  }
}

// `unasked`: the page asks by itself, which is no sign that somebody is there: the session goes on idling.
export async function get(path, parameters = {}, unasked = false) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== "" && value !== undefined));
  return answer(await fetched(query.size ? `${path}?${query}` : path, unasked ? { headers: { "X-Unasked": "yes" } } : {}));
}

export async function post(path, body) {
  return answer(await fetched(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": meta("csrf") },
    body: JSON.stringify(body),
  }));
}

export function command(text) {
  if (!text) return null;
  const button = h("button", { type: "button", class: "small", onclick: async () => {
    await navigator.clipboard?.writeText(text).catch(() => {});
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  } }, "Copy");
  return h("div", { class: "command" }, h("code", {}, text), navigator.clipboard ? button : null);
}

export function problem(error) {
  return h("div", { class: "notice bad", role: "alert" }, h("p", {}, error.message), command(error.mend));
}

const connection = document.getElementById("connection");
let told = "";

function connected(text, mend) {
  if (text === told) return;
  told = text;
  fill(connection, text ? h("div", { class: "notice bad" }, h("p", {}, text), command(mend)) : null);
}

// Calls `onview` with every view; `ontimeline` with the minutes of a day, now and then.
// A tab that nobody sees holds no stream: a browser has six connections to a server, and there may be more tabs.
export function live(onview, ontimeline = () => {}) {
  let source = follow(onview, ontimeline);
  document.addEventListener("visibilitychange", () => {
    source.close();
    if (!document.hidden) source = follow(onview, ontimeline);
  });
}

function follow(onview, ontimeline) {
  const source = new EventSource("/api/events");
  source.addEventListener("view", (event) => {
    const view = JSON.parse(event.data);
    const down = view.down;
    const stale = view.overview ? ` What you see is from before ${clock(down?.since ?? 0)}.` : "";
    connected(down ? `No answer from sipguard since ${clock(down.since)}: ${down.why}.${stale}` : "", down?.mend);
    document.body.toggleAttribute("data-down", Boolean(down));
    onview(view);
  });
  source.addEventListener("timeline", (event) => ontimeline(JSON.parse(event.data)));
  source.addEventListener("expired", () => {
    source.close();
    login();
  });
  source.addEventListener("error", async () => {
    connected("The page's server does not answer. Trying again.", "systemctl start sipguard-web");
    if (source.readyState === EventSource.CLOSED) {
      // An answer that is no stream: the session is over, or too many are watching.
      const response = await fetch("/api/jails", { cache: "no-store", headers: { "X-Unasked": "yes" } }).catch(() => null);
      if (response?.status === 401) login();
      else setTimeout(() => location.reload(), 5000);
    }
  });
  source.addEventListener("open", () => connected(""));
  return source;
}
