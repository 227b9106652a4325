// Numbers and times in words.

export const number = (value) => Number(value).toLocaleString();

export function span(seconds) {
  if (seconds === null || seconds === undefined) return "for good";
  let rest = Math.max(0, Math.round(seconds));
  const parts = [];
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]]) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count) parts.push(`${count} ${unit}`);
  }
  return parts.slice(0, 2).join(" ") || "0 s";
}

export function count(value, noun) {
  return `${number(value)} ${value === 1 ? noun : noun + (/(s|x)$/.test(noun) ? "es" : "s")}`;
}

export function moment(when) {
  if (when === null || when === undefined) return "never";
  return new Date(when * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "medium" });
}

export function clock(when) {
  return new Date(when * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

export function since(when) {
  const seconds = Date.now() / 1000 - when;
  return seconds < 2 ? "just now" : `${span(seconds)} ago`;
}

export const left = (until) => (until === null ? "for good" : span(until - Date.now() / 1000));
