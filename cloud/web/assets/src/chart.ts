// One line chart: loads its series, follows live values, marks anomalies and the parts without valid values.

import uPlot from "uplot";
import { colour, type Interval, names, type Points, shade, strips, times, valueAxis } from "./chart_marks";
import { BAD, type Change, GOOD, isLost } from "./live";
import { clock, hostNow, numberText, say, windowText, zone } from "./words";

interface Line {
  key: string;
  label: string;
  role: "value" | "threshold";
}

export interface Spec {
  id: string;
  title: string;
  axis: string;
  unit: string;
  decimals: number;
  lines: Line[];
  asset: string;
  from_zero: boolean;
}

const stepped = uPlot.paths.stepped?.({ align: 1 });
const NOTHING: Points = { t: [], v: [], q: [] };
const POINTS = 600;
const SHORTEST_MS = 30_000;
const HEIGHT = 170;

function seriesUrl(key: string, fromMs: number, toMs: number): string {
  const [node = "", device = "", ...tag] = key.split("|");
  const [group = "", ...rest] = node.split("/");
  const asked = { group, node: rest.join("/"), device, tag: tag.join("|") };
  const times = { from_ms: String(Math.round(fromMs)), to_ms: String(Math.round(toMs)), points: String(POINTS) };
  return `/api/series?${new URLSearchParams({ ...asked, ...times }).toString()}`;
}

export class Chart {
  readonly spec: Spec;
  private readonly data: Points[];
  private plot: uPlot | null = null;
  private intervals: Interval[] = [];
  private readonly box: HTMLElement;
  private readonly empty: HTMLElement | null;
  private visible = true;
  private loading = false;

  constructor(private readonly figure: HTMLElement) {
    this.spec = JSON.parse(figure.dataset["chart"] ?? "") as Spec;
    this.data = this.spec.lines.map(() => ({ t: [], v: [], q: [] }));
    this.box = figure.querySelector<HTMLElement>(".plot") ?? figure;
    this.empty = figure.querySelector<HTMLElement>(".empty");
  }

  seen(visible: boolean): void {
    this.visible = visible;
  }

  async load(minutes: number): Promise<void> {
    if (this.loading) return;
    this.loading = true;
    const now = hostNow();
    try {
      const found = await Promise.all(
        this.spec.lines.map(async (line) => {
          const answer = await fetch(seriesUrl(line.key, now - minutes * 60_000, now + 1000), {
            signal: AbortSignal.timeout(15_000),
          });
          if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`.trim());
          return (await answer.json()) as Points;
        }),
      );
      found.forEach((points, i) => {
        const old = this.data[i];
        const newest = points.t.at(-1) ?? 0;
        // What came live and is not yet in the database stays.
        const first = old === undefined ? -1 : old.t.findIndex((t) => t > newest);
        if (old !== undefined && first >= 0) {
          points.t.push(...old.t.slice(first));
          points.v.push(...old.v.slice(first));
          points.q.push(...old.q.slice(first));
        }
        this.data[i] = { t: points.t, v: points.v, q: points.q };
      });
    } catch (fault) {
      if (this.data.every((points) => points.t.length === 0)) {
        this.say(say("chart_failed", { why: fault instanceof Error ? fault.message : String(fault) }));
      }
    } finally {
      this.loading = false;
    }
  }

  // True when the marks are others than before.
  mark(intervals: Interval[]): boolean {
    const mine = intervals.filter((interval) => interval.asset === this.spec.asset);
    this.figure.dataset["anomalies"] = String(mine.length);
    if (JSON.stringify(mine) === JSON.stringify(this.intervals)) return false;
    this.intervals = mine;
    const marks = this.figure.querySelector(".marks");
    const last = mine.at(-1);
    if (marks === null) return true;
    if (last === undefined) {
      marks.textContent = "";
      return true;
    }
    let text = say("anomaly_span", { from: clock(last.from_ms), to: clock(last.to_ms) });
    if (hostNow() - last.to_ms < 3000) text = say("anomaly_since", { from: clock(last.from_ms) });
    if (mine.length > 1) text += ` ${say("anomaly_more", { n: mine.length - 1 })}`;
    marks.textContent = text;
    return true;
  }

  add(change: Change, key: string): void {
    const i = this.spec.lines.findIndex((line) => line.key === key);
    const points = this.data[i];
    const [, , , value, quality, ts] = change;
    if (points === undefined || ts === null || ts <= (points.t.at(-1) ?? 0)) return;
    points.t.push(ts);
    points.v.push(quality === BAD || typeof value === "string" || value === null ? null : Number(value));
    points.q.push(quality);
  }

  private say(text: string): void {
    if (this.empty !== null) {
      this.empty.textContent = text;
      this.empty.hidden = text === "";
    }
    this.figure.classList.toggle("is-empty", text !== "");
  }

  draw(minutes: number, evenUnseen = false): void {
    if (!(this.visible || evenUnseen) || this.box.clientWidth === 0) return;
    const now = hostNow();
    const from = now - minutes * 60_000;
    for (const points of this.data) {
      const drop = points.t.findIndex((t) => t >= from);
      // One before the window stays: its value holds into it.
      if (drop > 200) for (const list of [points.t, points.v, points.q]) list.splice(0, drop - 1);
    }
    const first = this.data[0];
    if (first === undefined) return;
    const inside = first.t.some((t, i) => t >= from && first.v[i] !== null);
    const holds = (first.v.at(-1) ?? null) !== null && this.qualityNow(this.spec.lines[0]?.key ?? "") !== "bad";
    if (!inside && !holds) {
      if (!this.loading) this.say(this.emptyText(windowText(minutes)));
      return;
    }
    this.say("");
    this.legend(first, from);
    const oldest = Math.max(from, Math.min(first.t[0] ?? from, now - SHORTEST_MS));
    const rows = this.data.map((points, i) => this.held(points, this.spec.lines[i]?.key ?? "", now));
    // Where one line has no point of its own, join leaves undefined, which is bridged; null stays a gap.
    const joined = uPlot.join(rows);
    if (this.plot === null) this.plot = this.create(joined);
    this.plot.batch(() => {
      this.plot?.setData(joined, false);
      this.plot?.setScale("x", { min: oldest / 1000, max: now / 1000 });
    });
  }

  // A tag reports only what changed: until it says otherwise its last value holds, up to now.
  private held(points: Points, key: string, now: number): uPlot.AlignedData {
    const x = points.t.map((t) => t / 1000);
    const last = points.v.at(-1);
    const newest = points.t.at(-1) ?? now;
    if (last === undefined || last === null || newest >= now || isLost() || this.qualityNow(key) === "bad") {
      return [x, points.v];
    }
    return [[...x, now / 1000], [...points.v, last]];
  }

  private qualityNow(key: string): string {
    const element = document.querySelector<HTMLElement>(`[data-key="${CSS.escape(key)}"]`);
    return element?.dataset["quality"] ?? "";
  }

  private legend(points: Points, from: number): void {
    const box = this.figure.querySelector(".legend");
    const shown = points.q.filter((_, i) => (points.t[i] ?? 0) >= from);
    const bad = shown.includes(BAD);
    const uncertain = shown.some((q) => q !== BAD && q !== GOOD);
    if (box === null || box.getAttribute("data-shows") === `${bad} ${uncertain}`) return;
    box.setAttribute("data-shows", `${bad} ${uncertain}`);
    const part = (name: "bad" | "uncertain"): HTMLElement => {
      const element = document.createElement("span");
      element.className = name;
      element.textContent = say(`${name}_part`);
      return element;
    };
    box.replaceChildren(...(bad ? [part("bad")] : []), ...(uncertain ? [part("uncertain")] : []));
  }

  private emptyText(window: string): string {
    const [key = ""] = this.spec.lines.map((line) => line.key);
    const element = document.querySelector<HTMLElement>(`[data-key="${CSS.escape(key)}"]`);
    const why = element?.dataset["why"] ?? "";
    return why === "" ? say("chart_empty", { window }) : say("chart_empty_why", { window, why });
  }

  summary(minutes: number): void {
    const values = (this.data[0]?.v ?? []).filter((v): v is number => v !== null);
    const last = values.at(-1);
    if (last === undefined) return;
    const text = (v: number): string => numberText(v, this.spec.decimals);
    const low = values.reduce((a, b) => Math.min(a, b));
    const high = values.reduce((a, b) => Math.max(a, b));
    const fields = { title: this.spec.title, window: windowText(minutes), now: text(last), low: text(low) };
    const words = say("chart_summary", { ...fields, high: text(high), unit: this.spec.unit });
    this.box.setAttribute("aria-label", words);
  }

  resize(): void {
    if (this.plot !== null && this.box.clientWidth > 0) {
      this.plot.setSize({ width: this.box.clientWidth, height: HEIGHT });
    }
  }

  close(): void {
    this.plot?.destroy();
    this.plot = null;
  }

  private create(data: uPlot.AlignedData): uPlot {
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--grid"), width: 1 }, ticks: { show: false } };
    const font = "12px system-ui, sans-serif";
    const options: uPlot.Options = {
      width: this.box.clientWidth,
      height: HEIGHT,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), zone),
      cursor: { y: false, drag: { setScale: false }, points: { size: 7 } },
      legend: { show: false },
      scales: { x: { time: true }, y: { range: (_plot, low, high) => this.range(low, high) } },
      axes: [
        { ...axis, font, space: 70, size: 28, values: (_plot, ticks) => times(ticks) },
        { ...axis, ...valueAxis(this.spec.axis), font, labelFont: font },
      ],
      series: [
        {},
        ...this.spec.lines.map((line): uPlot.Series => {
          const value = line.role === "value";
          return {
            label: line.label,
            stroke: colour(value ? "--line" : "--alarm"),
            width: value ? 1.6 : 1.4,
            ...(value ? {} : { dash: [6, 4] }),
            points: { show: false },
            ...(stepped === undefined ? {} : { paths: stepped }),
            spanGaps: false,
          };
        }),
      ],
      hooks: {
        drawClear: [(plot) => shade(plot, this.intervals)],
        draw: [(plot) => strips(plot, this.data[0] ?? NOTHING), (plot) => names(plot, this.intervals)],
      },
      plugins: [readout(this.spec)],
    };
    return new uPlot(options, data, this.box);
  }

  private range(low: number | null, high: number | null): [number, number] {
    let bottom = low ?? 0;
    let top = high ?? 1;
    if (this.spec.from_zero) bottom = Math.min(0, bottom);
    const space = (top - bottom || Math.abs(top) * 0.02 || 1) * 0.12;
    top += space;
    if (!this.spec.from_zero) bottom = low !== null && low >= 0 ? Math.max(0, bottom - space) : bottom - space;
    return [bottom, top];
  }
}

// The value under the pointer, beside the title: no floating box that covers the line.
function readout(spec: Spec): uPlot.Plugin {
  return {
    hooks: {
      setCursor: [
        (plot) => {
          const box = plot.root.closest("figure")?.querySelector(".chart-title");
          if (!(box instanceof HTMLElement)) return;
          const i = plot.cursor.idx;
          const at = i === null || i === undefined ? undefined : plot.data[0]?.[i];
          const value = i === null || i === undefined ? undefined : plot.data[1]?.[i];
          box.dataset["readout"] =
            at === undefined || value === undefined || value === null
              ? ""
              : `${numberText(value, spec.decimals)} ${spec.unit} · ${clock(at * 1000)}`;
        },
      ],
    },
  };
}
