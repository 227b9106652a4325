// The two things that can be done here: ban and unban, each after a question.

import { announce, h } from "./dom.js";
import { maywrite, post } from "./server.js";

function ask(title, fields, verb, danger, act) {
  const wrong = h("p", { class: "problem", role: "alert" });
  const go = h("button", { class: danger ? "main danger-main" : "main", type: "submit" }, verb);
  const dialog = h("dialog", { "aria-labelledby": "question" },
    h("form", { onsubmit: async (event) => {
      event.preventDefault();
      go.disabled = true;
      wrong.textContent = "";
      try {
        await act(new FormData(event.target));
        dialog.close();
      } catch (error) {
        wrong.textContent = error.message;
      }
      go.disabled = false;
    } },
    h("h2", { id: "question" }, title), fields, wrong,
    h("div", { class: "actions" }, h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), go)));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

function field(id, label, control, hint) {
  return h("div", { class: "field" }, h("label", { for: id }, label), control, hint ? h("p", { class: "soft" }, hint) : null);
}

export function unbanButton(address, done) {
  if (!maywrite) return null;
  return h("button", { type: "button", class: "small", "aria-label": `Unban ${address}`, onclick: () =>
    ask(`Let ${address} through?`,
      h("p", {}, "Its bans end in every jail, and its earlier attempts count no more."),
      "Unban", false,
      async () => {
        await post("/api/unban", { address });
        announce(`${address} is unbanned`);
        done();
      }) }, "Unban");
}

export function banButton(jails, address, done) {
  if (!maywrite) return null;
  const given = address ?? "";
  return h("button", { type: "button", class: "danger", onclick: () =>
    ask(given ? `Ban ${given}?` : "Ban an address",
      [
        given ? null : field("ban-address", "Address or network",
          h("input", { id: "ban-address", name: "address", type: "text", required: true, autocomplete: "off", spellcheck: "false" })),
        field("ban-jail", "Jail", h("select", { id: "ban-jail", name: "jail" },
          h("option", { value: "" }, "Every port"), jails().map((name) => h("option", { value: name }, name)))),
        field("ban-time", "For", h("select", { id: "ban-time", name: "time" },
          h("option", { value: "" }, "the jail's time"),
          [["10m", "10 minutes"], ["1h", "1 hour"], ["24h", "1 day"], ["7d", "1 week"], ["-1", "good"]].map(([value, text]) =>
            h("option", { value }, text)))),
        field("ban-reason", "Why", h("input", { id: "ban-reason", name: "reason", type: "text", maxlength: 200, autocomplete: "off" }),
          "Kept with the ban, for whoever asks later."),
      ],
      "Ban", true,
      async (form) => {
        const what = { address: given || form.get("address").trim(), jail: form.get("jail"), time: form.get("time"), reason: form.get("reason") };
        await post("/api/ban", what);
        announce(`${what.address} is banned`);
        done();
      }) }, given ? "Ban" : "Ban an address");
}
