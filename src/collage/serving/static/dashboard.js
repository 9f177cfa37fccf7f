// The first page: asks /v1/status once a second and writes what it says. Everything from the service goes through
// textContent, so that no name or label can become markup.

const PERIOD = 1000; // milliseconds
const SOURCES = ["single", "replica", "collage", "cheap", "batch", "parity", "learned"];
const at = (id) => document.getElementById(id);
const write = (id, text) => { at(id).textContent = text; };

function make(tag, name = "", text = "") {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = text;
  return element;
}

function seconds(value) {
  if (value === null) return "–";
  return value < 1 ? `${(value * 1000).toFixed(value < 0.01 ? 1 : 0)} ms` : `${value.toFixed(2)} s`;
}

const percent = (value, digits = 0) => (value === null ? "–" : `${(value * 100).toFixed(digits)}%`);

// Rows that stay in place from one second to the next: a button keeps its focus, and a reader their line.
class Rows {
  constructor(parent, create) {
    this.parent = parent;
    this.create = create;
    this.rows = new Map();
  }

  update(items, key, fill) {
    const seen = new Set();
    for (const item of items) {
      const id = key(item);
      seen.add(id);
      if (!this.rows.has(id)) {
        const row = this.create(item);
        this.rows.set(id, row);
        this.parent.append(row);
      }
      fill(this.rows.get(id), item);
    }
    for (const [id, row] of this.rows) {
      if (!seen.has(id)) {
        row.remove();
        this.rows.delete(id);
      }
    }
  }
}

function showModels(status) {
  const backup = status.backup ? `, behind it ${status.backup}` : "";
  write("models", `${status.single}${backup} · policy ${status.policy}`);
}

function showFigures(status) {
  write("window", status.window.toFixed(0));
  write("p50", seconds(status.latency.p50));
  write("p99", seconds(status.latency.p99));
  write("p999", seconds(status.latency.p999));
  write("rate", status.rate.toFixed(status.rate < 10 ? 1 : 0));
  write("in-flight", status.in_flight);
  write("queued", status.queued);
  write("extra-work", percent(status.extra_work));
  write("agreement", percent(status.agreement, 1));
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

let shownCollage = null;

function showCollage(collage) {
  at("collage").hidden = collage === null;
  at("no-collage").hidden = collage !== null;
  write("collage-age", collage === null ? "" : `${collage.age.toFixed(0)} s ago`);
  if (collage === null || collage.version === shownCollage) return; // the version grows with each answer used
  shownCollage = collage.version;
  at("collage-picture").src = `/v1/collage.png?version=${collage.version}`;
  const tiles = at("tiles");
  tiles.style.gridTemplateColumns = tiles.style.gridTemplateRows = `repeat(${collage.grid}, 1fr)`;
  tiles.replaceChildren(...collage.tiles.map((tile) => {
    const row = make("li", tile.state);
    const answer = make("div", "answer");
    if (tile.state === "unknown") answer.append(make("span", "", "unknown"));
    if (tile.label !== null) answer.append(make("span", "", tile.label), make("span", "", percent(tile.confidence)));
    if (tile.state === "used") answer.append(make("span", "hidden", "its answer was used"));
    row.append(answer);
    return row;
  }));
}

const workerRows = new Rows(at("workers"), (worker) => {
  const row = make("tr");
  row.dataset.worker = worker.id;
  const name = make("th");
  name.scope = "row";
  name.append(make("span", "", worker.id), make("small"));
  const state = make("td");
  state.append(make("span", "pill"), make("small"));
  row.append(name, state, make("td"));
  const demo = make("td");
  demo.append(make("button", "", "straggle"));
  demo.hidden = true;
  demo.firstChild.type = "button";
  demo.firstChild.setAttribute("aria-label", `make worker ${worker.id} straggle`);
  demo.firstChild.addEventListener("click", () => straggle(worker.id));
  row.append(demo);
  return row;
});

const TONES = { up: "good", draining: "warn", pausing: "warn", silent: "warn", straggling: "warn", down: "bad" };

function showWorkers(status) {
  at("demo-column").hidden = at("demo-note").hidden = !status.demo;
  workerRows.update(status.workers, (worker) => worker.id, (row, worker) => {
    const [name, state, speed, demo] = row.children;
    const shown = worker.straggling_for > 0 ? "straggling" : worker.state;
    state.firstChild.textContent = shown;
    state.firstChild.className = `pill ${TONES[shown] ?? ""}`;
    name.lastChild.textContent = worker.roles.join(", ");
    state.lastChild.textContent = worker.running.join(", ") || "idle";
    speed.textContent = worker.slowness === null ? "–" : `${worker.slowness.toFixed(1)}×`;
    demo.hidden = !status.demo;
    demo.firstChild.textContent = worker.straggling_for > 0 ? `${worker.straggling_for.toFixed(0)} s more` : "straggle";
    demo.firstChild.disabled = worker.straggling_for > 0 || worker.state !== "up";
  });
}

async function straggle(worker) {
  try {
    const response = await fetch(`/demo/straggle?worker=${encodeURIComponent(worker)}`, { method: "POST" });
    write("message", response.ok ? "" : `worker ${worker}: ${(await response.json()).error}`);
  } catch {
    write("message", "the service did not answer");
  }
}

function connection(text, tone) {
  if (at("connection").textContent !== text) write("connection", text);
  at("connection").className = `pill ${tone}`;
}

async function refresh() {
  try {
    const response = await fetch("/v1/status", { cache: "no-store" });
    if (!response.ok) throw new Error(response.statusText);
    const status = await response.json();
    showModels(status);
    showFigures(status);
    showScatter(status);
    showSources(status);
    showCollage(status.collage);
    showWorkers(status);
    connection(status.ready ? "ready" : "not ready", status.ready ? "good" : "warn");
  } catch {
    connection("no connection", "bad");
  }
  setTimeout(refresh, PERIOD);
}

refresh();
