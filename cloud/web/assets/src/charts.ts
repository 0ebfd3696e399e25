// All charts of the page: mounted when they come, loaded, redrawn, marked.

import { Chart } from "./chart";
import type { Interval } from "./chart_marks";
import type { Change } from "./live";
import { keyOf } from "./readings";
import { hostNow } from "./words";

const REDRAW_MS = 500;
const RELOAD_MS = 30_000;
const MARK_MS = 2000;
const SUMMARY_MS = 10_000;
const REMEMBERED = "gaugeline.window";

let charts: Chart[] = [];
const byFigure = new Map<Element, Chart>();
// The newest change of every tag, for charts that come later.
const latest = new Map<string, Change>();
let minutes = 5;

const onScreen = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) byFigure.get(entry.target)?.seen(entry.isIntersecting);
    drawAll();
  },
  { rootMargin: "200px" },
);
const widths = new ResizeObserver((entries) => {
  for (const entry of entries) byFigure.get(entry.target)?.resize();
});

function drawAll(evenUnseen = false): void {
  if (document.visibilityState === "visible") for (const chart of charts) chart.draw(minutes, evenUnseen);
}

export async function loadAll(): Promise<void> {
  // One after the other: the host answers others in between, and the first chart shows first.
  for (const chart of [...charts]) {
    await chart.load(minutes);
    chart.draw(minutes, true);
    chart.summary(minutes);
  }
}

export function unmount(): void {
  for (const chart of charts) chart.close();
  for (const figure of byFigure.keys()) {
    onScreen.unobserve(figure);
    widths.unobserve(figure);
  }
  byFigure.clear();
  charts = [];
}

export function mount(): void {
  unmount();
  for (const figure of document.querySelectorAll<HTMLElement>("[data-chart]")) {
    const chart = new Chart(figure);
    for (const line of chart.spec.lines) {
      const change = latest.get(line.key);
      if (change !== undefined) chart.add(change, line.key);
    }
    charts.push(chart);
    byFigure.set(figure, chart);
    onScreen.observe(figure);
    widths.observe(figure);
  }
  void loadAll().then(markAll);
}

export function addToCharts(changes: Change[]): void {
  for (const change of changes) {
    const key = keyOf(change);
    latest.set(key, change);
    for (const chart of charts) chart.add(change, key);
  }
}

async function markAll(): Promise<void> {
  if (document.visibilityState !== "visible" || !charts.some((chart) => chart.spec.asset !== "")) return;
  const now = hostNow();
  const asked = { from_ms: String(Math.round(now - minutes * 60_000)), to_ms: String(Math.round(now + 1000)) };
  try {
    const answer = await fetch(`/api/anomalies?${new URLSearchParams(asked).toString()}`, {
      signal: AbortSignal.timeout(10_000),
    });
    if (!answer.ok) return;
    const found = (await answer.json()) as { detected: Interval[] };
    const changed = charts.filter((chart) => chart.mark(found.detected));
    for (const chart of changed) chart.draw(minutes, true);
  } catch {
    // The connection's own state says that the host is gone; the marks stay as they were.
  }
}

function remembered(): string | null {
  try {
    return localStorage.getItem(REMEMBERED);
  } catch {
    return null; // storage is switched off
  }
}

export function start(): void {
  const choice = document.getElementById("windows");
  const old = choice?.querySelector<HTMLInputElement>(`input[value="${CSS.escape(remembered() ?? "")}"]`);
  if (old !== null && old !== undefined) {
    old.checked = true;
    minutes = Number(old.value);
  }
  choice?.addEventListener("change", (event) => {
    minutes = Number((event.target as HTMLInputElement).value);
    try {
      localStorage.setItem(REMEMBERED, String(minutes));
    } catch {
      // storage is switched off: the choice holds for this visit
    }
    void loadAll().then(markAll);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const chart of charts) chart.close();
    drawAll(true);
  });
  window.setInterval(() => drawAll(), REDRAW_MS);
  window.setInterval(() => void markAll(), MARK_MS);
  window.setInterval(() => document.visibilityState === "visible" && void loadAll(), RELOAD_MS);
  window.setInterval(() => charts.forEach((chart) => chart.summary(minutes)), SUMMARY_MS);
}
