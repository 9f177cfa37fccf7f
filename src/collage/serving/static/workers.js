// The workers, with what an operator can do to them.

import { ago, at, button, make, number, write, Rows } from "./dom.js";
import { forgetKey, keyGiven, press } from "./service.js";

const TONES = { up: "good", draining: "warn", drained: "warn", leaving: "warn", pausing: "warn", silent: "warn",
  straggling: "warn", starting: "bad" };
const DRAINS = ["draining", "drained", "leaving"];

let changed = () => {};
export const onChange = (callback) => { changed = callback; };

async function act(path, worker) {
  const wrong = await press(path);
  write("message", wrong ? `worker ${worker}: ${wrong}` : "");
  at("forget-key").hidden = !keyGiven();
  changed();
}

const rows = new Rows(at("workers"), (worker) => {
  const row = make("tr");
  row.dataset.worker = worker.id;
  const name = make("th");
  name.scope = "row";
  name.append(make("span", "", worker.id), make("small"));
  const state = make("td");
  state.append(make("span", "pill"), make("small"));
  const trouble = make("td", "trouble");
  trouble.append(make("span"), make("small"));
  const buttons = make("td");
  const drain = button("drain", "", () =>
    act(`/v1/workers/${encodeURIComponent(worker.id)}/${drain.dataset.does}`, worker.id));
  const straggle = button("straggle", "", () =>
    act(`/demo/straggle?worker=${encodeURIComponent(worker.id)}`, worker.id));
  drain.classList.add("drain");
  straggle.classList.add("straggle");
  buttons.append(drain, straggle);
  row.append(name, state, make("td"), make("td"), trouble, buttons);
  return row;
});

export function showWorkers(status) {
  at("demo-note").hidden = !status.demo;
  const scaling = status.scaling;
  write("scaling", scaling === null ? "" :
    `They follow the load: between ${scaling.min} and ${scaling.max}, so that singles take ` +
    `${(scaling.target_utilisation * 100).toFixed(0)}% of their time; the load now keeps ${number(scaling.demand)} busy.`);
  rows.update(status.workers, (worker) => worker.id, (row, worker) => {
    const [name, state, speed, done, trouble, buttons] = row.children;
    const shown = worker.straggling_for > 0 && worker.state === "up" ? "straggling" : worker.state;
    state.firstChild.textContent = shown;
    state.firstChild.className = `pill ${TONES[shown] ?? ""}`;
    name.lastChild.textContent = worker.roles.join(", ");
    state.lastChild.textContent = worker.running.join(", ") || "idle";
    speed.textContent = worker.slowness === null ? "–" : `${worker.slowness.toFixed(1)}×`;
    done.textContent = worker.done.toLocaleString("en");
    trouble.firstChild.textContent = worker.last_failure === null ? "–" : worker.last_failure.why;
    trouble.lastChild.textContent = worker.last_failure === null ? "" : ago(worker.last_failure.ago);
    const [drain, straggle] = buttons.children;
    const does = DRAINS.includes(worker.state) ? "resume" : "drain";
    if (drain.dataset.does !== does) {
      drain.dataset.does = drain.textContent = does;
      drain.setAttribute("aria-label", `${does} worker ${worker.id}`);
    }
    straggle.hidden = !status.demo;
    const more = worker.straggling_for > 0 ? `${worker.straggling_for.toFixed(0)} s more` : null;
    straggle.textContent = more ?? "straggle";
    straggle.setAttribute("aria-label", more ? `worker ${worker.id} straggles for ${more}` : `make worker ${worker.id} straggle`);
    straggle.disabled = worker.straggling_for > 0 || worker.state !== "up";
  });
}

at("forget-key").addEventListener("click", () => {
  forgetKey();
  at("forget-key").hidden = true;
  write("message", "the key is forgotten");
});
