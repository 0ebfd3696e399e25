// Live values over server-sent events, with the state of the connection for everyone to see.

import { clock, hostNow, hostSays, say } from "./words";

export const GOOD = 192;
export const BAD = 0;

// node, device, tag, value, quality, ts_ms
export type Change = [string, string, string, number | string | boolean | null, number, number | null];

interface Live {
  now_ms: number;
  values: Change[];
}

export interface Listener {
  changed(changes: Change[]): void;
  restored(): void;
}

const RETRY_MS = [1000, 2000, 5000, 10000];
const SILENT_MS = 12000;
const CONNECT_MS = 15000;

let lastHeard = Date.now();
let lost = false;
let everOpen = false;

function show(state: "live" | "lost" | "connecting"): void {
  const element = document.getElementById("connection");
  if (element === null) return;
  element.className = `connection ${state}`;
  const word = element.querySelector(".word");
  if (word !== null && word.textContent !== say(state)) word.textContent = say(state);
}

function nowLost(): void {
  show("lost");
  if (lost) return;
  lost = true;
  document.body.classList.add("is-lost");
  const banner = document.getElementById("lost");
  if (banner !== null) {
    banner.textContent = say("lost_long", { time: clock(hostNow()) });
    banner.hidden = false;
  }
}

function nowLive(listener: Listener): void {
  show("live");
  lastHeard = Date.now();
  const again = lost || !everOpen;
  everOpen = true;
  if (!lost) {
    if (again) listener.restored();
    return;
  }
  lost = false;
  document.body.classList.remove("is-lost");
  const banner = document.getElementById("lost");
  if (banner !== null) banner.hidden = true;
  listener.restored();
}

export function isLost(): boolean {
  return lost;
}

export function listen(listener: Listener): void {
  let attempt = 0;
  let again = (): void => undefined;

  function open(): void {
    const source = new EventSource("/api/events");
    // A host that is stopped in this moment, or a network that swallows everything, may never answer at all.
    const patience = window.setTimeout(() => again(), CONNECT_MS);
    source.onopen = () => {
      window.clearTimeout(patience);
      attempt = 0;
      nowLive(listener);
    };
    source.addEventListener("live", (event) => {
      const live = JSON.parse((event as MessageEvent<string>).data) as Live;
      hostSays(live.now_ms);
      nowLive(listener);
      listener.changed(live.values);
    });
    // The browser's own retry gives up for good on some answers: always begin anew, ever more slowly.
    again = () => {
      again = () => undefined;
      window.clearTimeout(patience);
      source.close();
      nowLost();
      window.setTimeout(open, RETRY_MS[Math.min(attempt++, RETRY_MS.length - 1)]);
    };
    source.onerror = () => again();
  }

  open();

  // The host says something every five seconds, also when nothing changed: this connection is dead, whatever a new one
  // would say.
  window.setInterval(() => {
    if (!lost && everOpen && Date.now() - lastHeard >= SILENT_MS) again();
  }, 3000);
}
