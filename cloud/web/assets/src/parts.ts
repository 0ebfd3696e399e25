// Lets htmx fetch what the server renders: balance, next steps, cards, events.

import htmx from "htmx.org";
import { isLost } from "./live";

const EVERY_MS = 2000;
const SOON_MS = 250;

let soon = 0;

function refresh(): void {
  if (document.visibilityState === "visible" && !isLost()) htmx.trigger("#refresh", "refresh");
}

export function refreshSoon(): void {
  window.clearTimeout(soon);
  soon = window.setTimeout(refresh, SOON_MS);
}

export function keepFresh(before: () => void, after: () => void): void {
  window.setInterval(refresh, EVERY_MS);
  document.addEventListener("visibilitychange", refresh);

  // What did not change is not touched: a screen reader would read it out again.
  document.body.addEventListener("htmx:oobBeforeSwap", (event) => {
    const detail = (event as CustomEvent).detail as { target: Element; fragment: Element; shouldSwap: boolean };
    if (detail.fragment.innerHTML.trim() === detail.target.innerHTML.trim()) detail.shouldSwap = false;
  });

  // The server must know which cards stand here: it renders only those anew.
  document.body.addEventListener("htmx:configRequest", (event) => {
    const { parameters } = (event as CustomEvent).detail as { parameters: Record<string, string> };
    parameters["layout"] = document.getElementById("assets")?.dataset["layout"] ?? "";
  });

  // Assets or tags came or went: all cards anew.
  document.body.addEventListener("layout", (event) => {
    const cards = document.getElementById("assets");
    const layout = ((event as CustomEvent).detail as { value?: string }).value;
    if (cards === null || layout === undefined || cards.dataset["layout"] === layout) return;
    cards.dataset["layout"] = layout;
    before();
    void htmx.ajax("get", "/parts/assets", { target: "#assets", swap: "innerHTML" }).then(after);
  });
}
