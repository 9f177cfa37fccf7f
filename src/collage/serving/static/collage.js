// The last collage: its picture, as its model saw it, and the answer of every tile.

import { ago, at, make, percent, write } from "./dom.js";
import { readPicture } from "./service.js";

let shown = null;

export function showCollage(collage) {
  at("collage").hidden = collage === null;
  at("no-collage").hidden = collage !== null;
  write("collage-age", collage === null ? "" : ago(collage.age));
  if (collage === null || collage.version === shown) return; // the version grows with each answer used
  shown = collage.version;
  showPicture(collage.version);
  const tiles = at("tiles");
  tiles.style.gridTemplateColumns = tiles.style.gridTemplateRows = `repeat(${collage.grid}, minmax(0, 1fr))`;
  tiles.replaceChildren(...collage.tiles.map((tile) => {
    const row = make("li", tile.state);
    const answer = make("div", "answer");
    if (tile.state === "unknown") answer.append(make("span", "", "unknown"));
    if (tile.label !== null) answer.append(make("span", "", tile.label), make("span", "", percent(tile.confidence)));
    if (tile.state === "used") answer.append(make("span", "hidden", "its answer was used"));
    if (tile.state === "blank") answer.append(make("span", "hidden", "blank"));
    row.append(answer);
    return row;
  }));
}

// On a canvas: an image element could not send a key that was given here.
async function showPicture(version) {
  const bitmap = await readPicture(`/v1/collage.png?version=${version}`).catch(() => null);
  at("picture-note").hidden = bitmap !== null;
  const canvas = at("collage-picture");
  canvas.hidden = bitmap === null;
  if (bitmap === null) return;
  if (version === shown) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
  }
  bitmap.close();
}

export function forgetCollage() {
  shown = null;
}

export function showPictureAgain() {
  if (shown !== null) showPicture(shown);
}

at("give-key").addEventListener("given", showPictureAgain);
