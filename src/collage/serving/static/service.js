// Asks the gateway. A key that the operator gives is kept in this module only: a reload forgets it.

import { at } from "./dom.js";

let key = null;
let model = null; // null: the gateway's first

export const chooseModel = (name) => { model = name; };
export const chosenModel = () => model;

// The service has answered, and gives not what was asked for. message: its own words.
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

function ofModel(path) {
  return model === null ? path : `${path}${path.includes("?") ? "&" : "?"}model=${encodeURIComponent(model)}`;
}

// With a key, the browser's own credentials stay out of it: they are what was not enough.
function ask(path, options = {}) {
  const own = key === null ? {} : { headers: { Authorization: `Bearer ${key}` }, credentials: "omit" };
  return fetch(ofModel(path), { cache: "no-store", ...own, ...options });
}

// Of the gateway's first model, which is always there. Throws Refused, or what fetch does where nothing answers.
export async function readFirst(path) {
  const response = await fetch(path, { cache: "no-store" });
  if (response.ok) return response.json();
  throw new Refused(response.status, (await response.json().catch(() => null))?.error ?? response.statusText);
}

export const read = (path) => readFirst(ofModel(path)); // the same of the chosen model

// A picture of clients' images, or null where it may not be seen.
export async function readPicture(path) {
  const response = await ask(path);
  return response.ok ? createImageBitmap(await response.blob()) : null;
}

// Presses a button of the gateway's; asks for a key where one is needed. Returns what went wrong, or "".
export async function press(path) {
  try {
    let response = await ask(path, { method: "POST" });
    while ((response.status === 401 || response.status === 403) && (await askForKey((await response.json()).error))) {
      response = await ask(path, { method: "POST" });
    }
    return response.ok ? "" : ((await response.json().catch(() => null))?.error ?? "not without an admin's key");
  } catch {
    return "the service did not answer";
  }
}

export const keyGiven = () => key !== null;

export function forgetKey() {
  key = null;
}

// True once a key was given; false where the operator would rather not.
export function askForKey(why) {
  const dialog = at("key-dialog");
  const field = at("key");
  at("key-why").textContent = why;
  field.value = "";
  key = null;
  dialog.showModal();
  return new Promise((resolve) => {
    const give = (event) => {
      event.preventDefault();
      if (field.value.trim()) key = field.value.trim();
      dialog.close();
    };
    at("key-form").addEventListener("submit", give);
    dialog.addEventListener("close", () => {
      at("key-form").removeEventListener("submit", give);
      field.value = "";
      resolve(key !== null);
    }, { once: true });
  });
}

at("give-key").addEventListener("click", async () => {
  if (await askForKey("to see pictures of clients' images")) at("forget-key").hidden = false;
  at("give-key").dispatchEvent(new Event("given", { bubbles: true }));
});
at("key-cancel").addEventListener("click", () => at("key-dialog").close());
