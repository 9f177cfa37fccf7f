// One query, step by step: which jobs ran for it, where, when, and which of them answered.

import { ago, at, make, seconds } from "./dom.js";
import { chosenModel, read } from "./service.js";

const GROUPS = { backed: "a backup answered", slowest: "slowest of the last 5 minutes", last: "last" };
const REASONS = { deadline: "had no answer by its deadline", overload: "was refused: too many waited",
  failed: "failed: no attempt gave an answer", no_workers: "was refused: no worker was up", cancelled: "was cancelled" };

let chosen = null; // a story that the visitor picked; null: follow the newest that a backup answered
let stories = { backed: [], slowest: [], last: [] };

export function forgetStories() {
  chosen = null;
  stories = { backed: [], slowest: [], last: [] };
}

export async function refreshStories() {
  const before = chosenModel();
  const news = await read("/v1/stories");
  if (chosenModel() !== before) return;
  stories = news;
  const choice = at("story");
  if (document.activeElement !== choice) fillChoice(choice);
  const all = Object.values(stories).flat();
  if (chosen !== null) chosen = all.find((story) => story.query === chosen.query) ?? chosen;
  show(chosen ?? stories.backed[0] ?? stories.slowest[0] ?? stories.last[0] ?? null);
}

function fillChoice(choice) {
  const follow = make("option", "", "the newest that a backup answered");
  follow.value = "";
  const groups = Object.entries(GROUPS).filter(([name]) => stories[name].length).map(([name, title]) => {
    const group = make("optgroup");
    group.label = title;
    group.append(...stories[name].map(option));
    return group;
  });
  if (chosen !== null && !Object.values(stories).flat().some((story) => story.query === chosen.query)) {
    groups.unshift(option(chosen));
  }
  choice.replaceChildren(follow, ...groups);
  choice.value = chosen === null ? "" : String(chosen.query);
}

function option(story) {
  const element = make("option", "", `${story.query}: ${seconds(story.seconds)}, ${story.outcome}`);
  element.value = String(story.query);
  return element;
}

at("story").addEventListener("change", () => {
  const wanted = at("story").value;
  chosen = wanted === "" ? null : Object.values(stories).flat().find((story) => String(story.query) === wanted) ?? chosen;
  show(chosen ?? stories.backed[0] ?? stories.slowest[0] ?? stories.last[0] ?? null);
});

// Kept by the page, so that it cannot change while it is read; the steps are written anew only when they differ.
let written = "";

function show(story) {
  at("no-story").hidden = story !== null;
  at("timeline").hidden = story === null;
  if (story === null) return;
  at("story-age").textContent = ago(story.age);
  const now = JSON.stringify({ ...story, age: null });
  if (now === written) return;
  written = now;
  at("story-words").textContent = words(story);
  const end = Math.max(story.seconds, ...story.jobs.map((job) => job.ended ?? story.age), 1e-6);
  const first = Math.min(...story.jobs.map((job) => job.began), story.seconds);
  const rows = first > 0 ? [step("waits for a worker", "waiting", 0, first, end, "")] : [];
  for (const job of story.jobs) {
    const company = job.queries > 1 ? `, with ${job.queries - 1} other${job.queries > 2 ? "s" : ""}` : "";
    rows.push(step(`${job.source} on ${job.worker}${company}`, `${job.source}${job.won ? " won" : ""} ${job.how}`,
      job.began, job.ended ?? end, end, became(job, story)));
  }
  at("steps").replaceChildren(...rows);
  at("answer-mark").style.left = `${(100 * story.seconds) / end}%`;
  at("story-end").textContent = seconds(end);
}

function step(title, kind, from, to, end, note) {
  const row = make("li", kind);
  const track = make("div", "track");
  const bar = make("div", "bar");
  bar.style.left = `${(100 * from) / end}%`;
  bar.style.width = `${(100 * (to - from)) / end}%`;
  track.append(bar);
  track.setAttribute("aria-hidden", "true");
  row.append(make("span", "title", title), make("span", "note", `${seconds(from)} to ${seconds(to)}${note}`), track);
  return row;
}

function became(job, story) {
  if (job.won) return ": answered";
  if (job.how === "done") return story.control ? ": ended unseen, as this is a control" : ": was not needed";
  return { running: ": still running", failed: ": failed", lost: ": lost with its worker", cancelled: ": cancelled" }[job.how];
}

function words(story) {
  const won = story.jobs.find((job) => job.won);
  const single = story.jobs.find((job) => job.source === "single");
  const subject = `Query ${story.query}`;
  if (story.outcome in REASONS) return `${subject} ${REASONS[story.outcome]}, after ${seconds(story.seconds)}.`;
  if (!won) return `${subject} showed the image of query ${story.shares_with}, shared its jobs, and was answered after ${seconds(story.seconds)}.`;
  if (won.source === "single") return `${subject} was answered by its single after ${seconds(story.seconds)}.`;
  const saved = story.control && single?.how === "done" ? ` Without backups it would have taken ${seconds(single.ended)}.` : "";
  return `${subject} was answered by a ${won.source} after ${seconds(story.seconds)}, as its single was late.${saved}`;
}
