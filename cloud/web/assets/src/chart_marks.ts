// What is drawn on a chart besides its line: anomalies, parts without valid values, axes.

import type uPlot from "uplot";
import { BAD, GOOD } from "./live";
import { clock, hostNow, numberText, say } from "./words";

export interface Interval {
  asset: string;
  from_ms: number;
  to_ms: number;
}

export interface Points {
  t: number[];
  v: (number | null)[];
  q: number[];
}

export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export function shade(plot: uPlot, intervals: Interval[]): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  for (const interval of intervals) {
    const left = plot.valToPos(interval.from_ms / 1000, "x", true);
    const right = Math.max(left + 2 * devicePixelRatio, plot.valToPos(interval.to_ms / 1000, "x", true));
    ctx.fillStyle = colour("--alarm-shade");
    ctx.fillRect(left, bbox.top, right - left, bbox.height);
    ctx.fillStyle = colour("--alarm");
    ctx.fillRect(left, bbox.top, right - left, 3 * devicePixelRatio);
    ctx.fillRect(left, bbox.top, devicePixelRatio, bbox.height);
  }
  ctx.restore();
}

// Above grid and line, on a ground of its own, so that it can be read wherever the line runs.
export function names(plot: uPlot, intervals: Interval[]): void {
  const { ctx, bbox } = plot;
  const dot = devicePixelRatio;
  const word = say("anomaly_mark");
  ctx.save();
  ctx.font = `600 ${11 * dot}px system-ui, sans-serif`;
  ctx.textBaseline = "middle";
  ctx.textAlign = "left";
  const width = ctx.measureText(word).width + 8 * dot;
  for (const interval of intervals) {
    const left = Math.max(bbox.left, plot.valToPos(interval.from_ms / 1000, "x", true));
    const right = Math.min(bbox.left + bbox.width, plot.valToPos(interval.to_ms / 1000, "x", true));
    if (right - left < width + 4 * dot) continue;
    ctx.fillStyle = colour("--alarm");
    ctx.fillRect(left, bbox.top, width, 16 * dot);
    ctx.fillStyle = colour("--panel");
    ctx.fillText(word, left + 4 * dot, bbox.top + 8.5 * dot);
  }
  ctx.restore();
}

// Along the bottom: hatched where there was no valid value, dotted where it was uncertain.
export function strips(plot: uPlot, points: Points): void {
  const { ctx, bbox } = plot;
  const high = 5 * devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  for (let i = 0; i < points.q.length; i++) {
    if (points.q[i] === GOOD) continue;
    const bad = points.q[i] === BAD;
    const start = points.t[i] ?? 0;
    while (i + 1 < points.q.length && (points.q[i + 1] === BAD) === bad && points.q[i + 1] !== GOOD) i++;
    const end = points.t[i + 1] ?? hostNow();
    const left = plot.valToPos(start / 1000, "x", true);
    const width = Math.max(2 * devicePixelRatio, plot.valToPos(end / 1000, "x", true) - left);
    ctx.fillStyle = colour(bad ? "--bad" : "--uncertain");
    const step = (bad ? 3 : 8) * devicePixelRatio;
    for (let x = 0; x < width; x += step * 2) {
      ctx.fillRect(left + x, bbox.top + bbox.height - high, Math.min(step, width - x), high);
    }
  }
  ctx.restore();
}

// Seconds only where some tick needs them.
export function times(ticks: number[]): string[] {
  const texts = ticks.map((seconds) => clock(seconds * 1000));
  return texts.every((text) => text.endsWith(":00")) ? texts.map((text) => text.slice(0, 5)) : texts;
}

export function valueAxis(label: string): uPlot.Axis {
  const values = (_plot: uPlot, ticks: number[]): string[] => {
    const step = Math.abs((ticks[1] ?? 1) - (ticks[0] ?? 0)) || 1;
    const places = Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9)));
    return ticks.map((tick) => numberText(tick, places));
  };
  const size = (_plot: uPlot, texts: string[] | null): number =>
    18 + 7 * Math.max(3, ...(texts ?? []).map((text) => text.length));
  return { label, labelSize: 18, size, space: 34, values };
}
