// The words and numbers of the page, written as the server writes them.

const table: Record<string, string> = JSON.parse(document.getElementById("words")?.textContent ?? "{}");

export const zone = document.documentElement.dataset["zone"] ?? "UTC";

export function say(key: string, fields: Record<string, string | number> = {}): string {
  const text = table[key];
  if (text === undefined) throw new Error(`no words for ${key}`);
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(fields[name] ?? whole));
}

const clockFormat = new Intl.DateTimeFormat("en-GB", {
  timeZone: zone, hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});

export function clock(ms: number): string {
  return clockFormat.format(new Date(ms));
}

const NARROW_SPACE = "\u202f";

export function numberText(value: number, places: number): string {
  const fixed = Math.abs(value).toFixed(places);
  const [whole = "", rest] = fixed.split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, NARROW_SPACE);
  const sign = value < 0 && Number(fixed) !== 0 ? "\u2212" : "";
  return sign + grouped + (rest === undefined ? "" : `.${rest}`);
}

export function ageText(ms: number): string {
  const seconds = Math.floor(Math.max(0, ms) / 1000);
  if (seconds < 2) return say("now");
  if (seconds < 120) return say("seconds", { n: seconds });
  if (seconds < 7200) return say("minutes", { n: Math.floor(seconds / 60) });
  if (seconds < 172800) return say("hours", { n: Math.floor(seconds / 3600) });
  return say("days", { n: Math.floor(seconds / 86400) });
}

export function windowText(minutes: number): string {
  return minutes % 60 === 0 ? say("hour_window", { n: minutes / 60 }) : say("minute_window", { n: minutes });
}

// The host's clock, not the viewer's: ages and charts must not depend on a wrong clock in front of the screen.
let offsetMs = Number(document.documentElement.dataset["now"] ?? Date.now()) - Date.now();

export function hostNow(): number {
  return Date.now() + offsetMs;
}

export function hostSays(nowMs: number): void {
  offsetMs = nowMs - Date.now();
}
