// What all parts of the page share: elements, rows that stay in place, and how values are written. Everything from the
// service goes through textContent, so that no name or label can become markup.

export const at = (id) => document.getElementById(id);

export function write(id, text) {
  const element = at(id);
  if (element.textContent !== String(text)) element.textContent = text;
}

export function make(tag, name = "", text = "") {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text) element.textContent = text;
  return element;
}

export function button(text, label, press) {
  const element = make("button", "", text);
  element.type = "button";
  if (label) element.setAttribute("aria-label", label);
  element.addEventListener("click", press);
  return element;
}

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 0.00005) return "0";
  if (value < 1) return `${(value * 1000).toFixed(value < 0.01 ? 1 : 0)} ms`;
  return `${value.toFixed(value < 10 ? 2 : 1)} s`;
}

export function ago(value) {
  if (value < 90) return `${value.toFixed(0)} s ago`;
  return value < 5400 ? `${(value / 60).toFixed(0)} min ago` : `${(value / 3600).toFixed(0)} h ago`;
}

export const missing = (value) => value === null || value === undefined;
export const percent = (value, digits = 0) => (missing(value) ? "–" : `${(value * 100).toFixed(digits)}%`);
export const number = (value) => (missing(value) ? "–" : value.toFixed(value === 0 || value >= 10 ? 0 : 1));

// Rows that stay in place from one second to the next: a button keeps its focus, and a reader their line.
export class Rows {
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
