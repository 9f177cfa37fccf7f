// The first page: asks the gateway for this moment (every second), its history and a few queries' stories, and shows them.
// It keeps what the gateway keeps and no more, so that it can stay open for days.

import { at, make, number, percent, seconds, write, Rows } from "./dom.js";
import { Charts } from "./charts.js";
import { forgetCollage, showCollage, showPictureAgain } from "./collage.js";
import { chooseModel, chosenModel, read, readFirst, Refused } from "./service.js";
import { forgetStories, refreshStories } from "./stories.js";
import { onChange, showWorkers } from "./workers.js";

const PERIOD = 1000; // milliseconds
const STORIES_EVERY = 2; // periods
const SLOW = 3; // times as long as usual: worth a word
const SOURCES = ["single", "replica", "collage", "cheap", "batch", "parity", "learned"];

const charts = new Charts();
let paused = false;
let absent = false; // the chosen model is not loaded
let ticks = 0;
let timer = null;

const span = () => document.querySelector("input[name=range]:checked").value;

function showModels(status) {
  const backup = status.backup ? `, behind it ${status.backup}` : "";
  write("models", `${status.single}${backup} · policy ${status.policy}`);
  offerModels(status.models.map((name) => new Option(name, name)), status.model);
}

function offerModels(options, shown) {
  const choice = at("model");
  at("model-choice").hidden = options.length < 2;
  const text = options.map((option) => option.text).join("\n");
  if (choice.dataset.text === text) return;
  choice.dataset.text = text;
  choice.replaceChildren(...options);
  choice.value = shown;
}

// Another model, or the same loaded anew: its own lines, stories, collage and workers.
function forget() {
  absent = false;
  charts.forget();
  forgetStories();
  forgetCollage();
  ticks = 0;
}

function changeModel() {
  chooseModel(at("model").value);
  forget();
  if (!paused) refresh();
}

// Where the chosen model was not loaded: whether it is again. Until then the page says so and offers those that are.
async function loadedAgain(name) {
  const { models } = await readFirst("/v1/status");
  if (chosenModel() !== name) return false;
  if (models.includes(name)) {
    forget();
    return true;
  }
  offerModels([...models.map((other) => new Option(other, other)), new Option(`${name} (not loaded)`, name)], name);
  attend([`The model ${name} is not loaded. What is below was shown before; another can be chosen above.`]);
  if (!paused) connection("not loaded", "bad");
  return false;
}

function showFigures(status) {
  write("window", status.window.toFixed(0));
  write("p50", seconds(status.latency.p50));
  write("p99", seconds(status.latency.p99));
  write("p999", seconds(status.latency.p999));
  write("rate", number(status.rate));
  write("in-flight", status.in_flight);
  write("queued", status.queued);
  write("extra-work", percent(status.extra_work));
  write("agreement", percent(status.agreement, 1));
}

// What an operator should look at, in words.
function showAttention(status) {
  const away = status.workers.filter((worker) => worker.state !== "up");
  const extra = charts.extraWork;
  const found = [
    !status.ready && "No query is answered now.",
    status.backup_off && "The backup is off: it agreed with the single too seldom, or an operator switched it off.",
    status.backups_paused && "No backup starts: the last ones failed.",
    away.length && `${away.length} of ${status.workers.length} workers: ${[...new Set(away.map((one) => one.state))].join(", ")}.`,
    ...status.workers.filter((worker) => worker.state === "up" && worker.slowness >= SLOW)
      .map((worker) => `Worker ${worker.id} takes ${worker.slowness.toFixed(0)} times as long as is usual.`),
    status.backup && extra !== null && extra >= 0.95 * status.budget && "Extra work is at its budget: some backups are not sent.",
  ].filter(Boolean);
  attend(found);
}

function attend(found) {
  const text = found.join("\n");
  const box = at("attention");
  if (box.dataset.text === text) return; // a screen reader hears only what is new
  box.dataset.text = text;
  box.hidden = !text;
  box.firstChild.replaceChildren(...found.map((line) => make("li", "", line)));
}

// Each answer is a line of no length with round ends: a dot that stays round however the picture is stretched.
function showScatter(status) {
  const top = Math.max(0.02, ...status.recent.map((answer) => answer.seconds)) * 1.1;
  const dots = status.recent.map((answer) => {
    const dot = document.createElementNS("http://www.w3.org/2000/svg", "path");
    const x = 800 * (1 - answer.age / status.window);
    const y = 200 * (1 - answer.seconds / top);
    dot.setAttribute("class", `dot ${answer.source}`);
    dot.setAttribute("d", `M${x.toFixed(1)} ${y.toFixed(1)}h0`);
    return dot;
  });
  at("scatter").replaceChildren(...dots);
  write("scatter-top", status.recent.length ? seconds(top) : "");
}

const sourceRows = new Rows(at("sources"), (entry) => {
  const row = make("li", entry.source);
  row.dataset.source = entry.source;
  const track = make("div", "track");
  track.append(make("div", "fill"));
  row.append(make("span", "name", entry.source), make("span", "count"), track);
  return row;
});

function showSources(status) {
  const total = Object.values(status.sources).reduce((sum, count) => sum + count, 0);
  const entries = SOURCES.filter((source) => source === "single" || status.sources[source])
    .map((source) => ({ source, count: status.sources[source] ?? 0 }));
  sourceRows.update(entries, (entry) => entry.source, (row, { count }) => {
    const share = total ? count / total : 0;
    row.querySelector(".count").textContent = `${count.toLocaleString("en")} · ${percent(share, 1)}`;
    row.querySelector(".fill").style.width = `${share * 100}%`;
  });
  write("sources-note", `Since the start. ${status.backups_sent} backup jobs were sent; ${status.backups_won} queries ` +
    "got their answer from one.");
}

function connection(text, tone) {
  write("connection", text);
  at("connection").className = `pill ${tone}`;
}

async function refresh() {
  const before = chosenModel();
  try {
    if (absent && !(await loadedAgain(before))) return;
    const status = await read("/v1/status");
    if (chosenModel() !== before) return;
    showModels(status);
    showFigures(status);
    showAttention(status);
    showScatter(status);
    showSources(status);
    showCollage(status.collage);
    showWorkers(status);
    if (ticks % Math.min(charts.interval, 15) === 0) await charts.refresh(span());
    if (ticks % STORIES_EVERY === 0) await refreshStories();
    if (!paused) connection(status.ready ? "ready" : "not ready", status.ready ? "good" : "warn");
  } catch (error) {
    if (chosenModel() === before) showWrong(error);
  }
  ticks += 1;
}

// Three things that are told apart: the model is gone, the service refuses, nothing answers.
function showWrong(error) {
  if (!(error instanceof Refused)) {
    if (!paused) connection("no connection", "bad");
  } else if (error.status === 404 && chosenModel() !== null) {
    absent = true; // and the next refresh says what there is
  } else {
    attend([`The service refused what this page asked: ${error.message}`]);
    if (!paused) connection("refused", "bad");
  }
}

// One at a time, and none while nobody looks: what was missed is in the history.
async function run() {
  timer = null;
  if (paused || document.hidden) return;
  await refresh();
  schedule(PERIOD);
}

function schedule(wait) {
  if (timer === null) timer = setTimeout(run, wait);
}

function pause() {
  paused = !paused;
  at("pause").textContent = paused ? "go on" : "pause";
  if (paused) connection("paused", "warn");
  else schedule(0);
}

at("pause").addEventListener("click", pause);
at("model").addEventListener("change", changeModel);
document.addEventListener("visibilitychange", () => { if (!document.hidden) schedule(0); });
for (const input of document.querySelectorAll("input[name=range]")) {
  input.addEventListener("change", () => charts.refresh(span()).catch(showWrong));
}
onChange(() => {
  showPictureAgain();
  if (!paused) refresh();
});
run();
