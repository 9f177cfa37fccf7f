// The lines over time: the gateway's history, drawn by uPlot (uplot.js, a classic script that is loaded before).

import { at, make, missing, number, percent, seconds } from "./dom.js";
import { chosenModel, read } from "./service.js";

/* global uPlot */

const HEIGHT = 190;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const spans = { "15m": "the last 15 minutes", "3h": "the last 3 hours", "24h": "the last 24 hours" };

// key: a column of the history. what: for legends and readers.
const LATENCY = [
  { key: "answered_p50", what: "answered, p50", paint: "p50" },
  { key: "answered_p99", what: "answered, p99", paint: "p99" },
  { key: "answered_p999", what: "answered, p99.9", paint: "p999" },
  { key: "without_p50", what: "without backups, p50", paint: "p50", dash: [6, 4] },
  { key: "without_p99", what: "without backups, p99", paint: "p99", dash: [6, 4] },
  { key: "without_p999", what: "without backups, p99.9", paint: "p999", dash: [6, 4] },
];
const SOURCES = ["single", "replica", "collage", "cheap", "batch", "parity", "learned"]
  .map((source) => ({ key: `answers_${source}`, what: source, paint: source }));

class Chart {
  constructor(id, title, series, format) {
    Object.assign(this, { title, series, format, host: at(id), legend: at(`${id}-legend`), shown: series.map(() => true) });
    this.readout = this.host.nextElementSibling;
    this.host.tabIndex = 0;
    this.host.setAttribute("role", "group");
    this.plot = new uPlot(this.options(), [[], ...series.map(() => [])], this.host);
    this.plot.root.setAttribute("aria-hidden", "true");
    this.entries = this.legend ? series.map((line, index) => this.entry(line, index)) : [];
    this.host.addEventListener("keydown", (event) => this.move(event));
    this.host.addEventListener("blur", () => this.plot.setCursor({ left: -10, top: -10 }));
    new ResizeObserver(() => this.fit()).observe(this.host);
  }

  options() {
    const axis = { stroke: () => colour("soft"), grid: { stroke: () => colour("line"), width: 1 }, ticks: { show: false },
      font: "12px system-ui, sans-serif" };
    return {
      width: Math.max(200, this.host.clientWidth), height: HEIGHT, legend: { show: false },
      cursor: { drag: { x: false, y: false }, sync: { key: "time" }, points: { size: 6 } },
      scales: { y: { range: (_plot, _low, high) => [0, (high || this.least || 0.01) * 1.08] } },
      axes: [{ ...axis, space: 70, size: 28, values: (_plot, splits, _axis, _space, step) => splits.map((t) => clock(t, step)) },
        { ...axis, size: 62, values: (_plot, splits) => splits.map((value) => this.format(value)) }],
      series: [{}, ...this.series.map((line) => ({
        stroke: () => colour(line.paint), width: line.dash ? 1.5 : 2, dash: line.dash, points: { show: false },
      }))],
      hooks: { setCursor: [(plot) => this.say(plot.cursor.idx)] },
    };
  }

  entry(line, index) {
    const item = make("li");
    const toggle = make("button", "toggle");
    toggle.type = "button";
    toggle.setAttribute("aria-pressed", "true");
    const mark = make("span", `mark${line.dash ? " dashed" : ""} paint-${line.paint}`);
    const value = make("span", "value", "–");
    toggle.append(mark, make("span", "", line.what), value);
    toggle.addEventListener("click", () => {
      this.shown[index] = !this.shown[index];
      toggle.setAttribute("aria-pressed", String(this.shown[index]));
      this.plot.setSeries(index + 1, { show: this.shown[index] });
    });
    item.append(toggle);
    this.legend.append(item);
    return { item, value };
  }

  // Nothing is drawn of a source that has not answered at all: the legend leaves it out.
  show(points, span) {
    const columns = this.series.map((line) => line.values?.(points) ?? points[line.key]);
    this.plot.setData([points.at, ...columns]);
    const said = this.series.map((line, index) => {
      const value = columns[index].at(-1);
      const there = columns[index].some((one) => one !== null && one !== 0) || !line.key.startsWith("answers_");
      if (this.entries[index]) {
        this.entries[index].item.hidden = !there;
        this.entries[index].value.textContent = this.format(value);
      }
      return there && !missing(value) ? `${line.what} ${this.format(value)}` : null;
    }).filter((text) => text !== null);
    this.host.setAttribute("aria-label", `${this.title}, ${spans[span]}. Now: ${said.join(", ") || "nothing yet"}. ` +
      "Arrow keys read single points.");
  }

  fit() {
    const width = this.host.clientWidth;
    if (width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: HEIGHT });
  }

  move(event) {
    const last = this.plot.data[0].length - 1;
    const here = this.plot.cursor.idx ?? last + 1;
    const step = { ArrowLeft: Math.max(0, here - 1), ArrowRight: Math.min(last, here + 1), Home: 0, End: last };
    if (event.key === "Escape") this.plot.setCursor({ left: -10, top: -10 });
    if (!(event.key in step) || last < 0) return;
    event.preventDefault();
    const left = this.plot.valToPos(this.plot.data[0][step[event.key]], "x");
    this.plot.setCursor({ left, top: HEIGHT / 3 });
  }

  say(index) {
    if (!this.readout) return;
    const time = missing(index) ? undefined : this.plot.data[0][index];
    const values = time === undefined ? [] : this.series
      .map((line, place) => [line, this.plot.data[place + 1][index], this.shown[place]])
      .filter(([line, value, shown]) => shown && !missing(value) && (value !== 0 || !line.key.startsWith("answers_")))
      .map(([line, value]) => `${line.what} ${this.format(value)}`);
    this.readout.textContent = time === undefined ? "" : `${clock(time, 1)}: ${values.join(", ") || "nothing"}`;
  }
}

function clock(time, step) {
  const options = step < 60 ? { hour: "2-digit", minute: "2-digit", second: "2-digit" } : { hour: "2-digit", minute: "2-digit" };
  return new Date(time * 1000).toLocaleTimeString([], { ...options, hourCycle: "h23" });
}

const constant = (value) => (points) => points.at.map(() => value());

// The points that the gateway keeps of one range, as far as they have been read: never more than it keeps.
export class Charts {
  constructor() {
    this.kept = null;
    this.wanted = null; // the range that was asked for last
    this.charts = [
      new Chart("latency-chart", "Latency", LATENCY, seconds),
      new Chart("answers-chart", "Answers a second by source", SOURCES, number),
      new Chart("extra-chart", "Extra work against its budget", [
        { key: "extra_work", what: "extra work", paint: "collage" },
        { key: "budget", what: "budget", paint: "bad", dash: [6, 4], values: constant(() => this.kept?.budget ?? null) },
      ], (value) => percent(value, value > 0 && value < 0.1 ? 1 : 0)),
      new Chart("agreement-chart", "Agreement of single and backup", [
        { key: "agreement", what: "agreement", paint: "good" },
        { key: "least", what: "least", paint: "bad", dash: [6, 4], values: constant(() => this.kept?.agreement_least ?? null) },
      ], (value) => percent(value, 0)),
      new Chart("load-chart", "Queries and workers", [
        { key: "in_flight", what: "in flight", paint: "single" },
        { key: "queued", what: "queued", paint: "collage" },
        { key: "workers_up", what: "workers up", paint: "good" },
        { key: "workers_wanted", what: "workers wanted", paint: "good", dash: [6, 4] },
      ], number),
    ];
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", () => this.charts.forEach((chart) => chart.plot.redraw(false)));
  }

  get interval() {
    return this.kept?.interval ?? 5;
  }

  get extraWork() {
    return this.kept?.points.extra_work.at(-1) ?? null;
  }

  // Another model has another history.
  forget() {
    this.kept = this.wanted = null;
  }

  async refresh(span) {
    this.wanted = span;
    const known = this.kept?.range === span ? this.kept : null;
    const model = chosenModel();
    const since = known?.points.at.at(-1) ?? 0;
    const news = await read(`/v1/history?range=${span}&since=${since}`);
    if (this.wanted !== span || chosenModel() !== model || (known !== null && !news.points.at.length)) return;
    this.keep(known, news, since);
    for (const chart of this.charts) chart.show(this.kept.points, span);
    showWindows(news.windows);
  }

  keep(known, news, since) {
    if (known === null) {
      this.kept = news;
      return;
    }
    const from = news.points.at.findIndex((time) => time > since);
    for (const [name, values] of Object.entries(news.points)) {
      news.points[name] = [...known.points[name], ...values.slice(Math.max(0, from))].slice(-news.length);
    }
    this.kept = news;
  }
}

// What the newest percentiles are over: as long as it takes to know them.
function showWindows(windows) {
  const text = LATENCY.filter((line) => !line.key.endsWith("p50"))
    .map((line) => `${line.what}: ${missing(windows[line.key]) ? "too few yet" : `the last ${duration(windows[line.key])}`}`);
  at("windows").textContent = `Each point is over as short a time as suffices. ${text.join("; ")}.`;
}

const duration = (value) => (value < 120 ? `${value.toFixed(0)} s` : `${(value / 60).toFixed(0)} min`);
