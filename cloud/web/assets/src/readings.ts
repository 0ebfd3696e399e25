// Writes live values into the elements that the server rendered, and lets ages grow.

import { BAD, type Change, GOOD } from "./live";
import { ageText, hostNow, numberText, say } from "./words";

export function keyOf(change: Change): string {
  return `${change[0]}|${change[1]}|${change[2]}`;
}

const NAMES: Record<number, string> = { [GOOD]: "good", [BAD]: "bad" };

function valueText(value: Change[3], decimals: number): string {
  if (value === null) return say("none");
  if (typeof value === "boolean") return say(value ? "yes" : "no");
  return typeof value === "number" ? numberText(value, decimals) : value;
}

function write(element: Element | null, text: string): void {
  if (element !== null && element.textContent !== text) element.textContent = text;
}

// True when a quality changed: the server must say why in words.
export function showReadings(changes: Change[]): boolean {
  const byKey = new Map(changes.map((change) => [keyOf(change), change]));
  let qualityChanged = false;
  for (const element of document.querySelectorAll<HTMLElement>("[data-key]")) {
    const change = byKey.get(element.dataset["key"] ?? "");
    if (change === undefined) continue;
    const [, , , value, quality, ts] = change;
    if ((NAMES[quality] ?? "uncertain") !== element.dataset["quality"]) {
      qualityChanged = true;
      continue;
    }
    if (quality !== BAD) write(element.querySelector(".value"), valueText(value, Number(element.dataset["decimals"])));
    if (ts !== null) {
      element.dataset["ts"] = String(ts);
      write(element.querySelector(".age"), ageText(hostNow() - ts));
    }
  }
  return qualityChanged;
}

export function growAges(): void {
  const now = hostNow();
  for (const element of document.querySelectorAll<HTMLElement>("[data-ts]")) {
    write(element.querySelector(".age"), ageText(now - Number(element.dataset["ts"])));
  }
}
