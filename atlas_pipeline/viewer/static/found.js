// Activations that are chosen in one layer light up in all: every layer saw the same images.

import { numberWords } from "./cells.js";
import { keepFile, run, unpackAll } from "./data.js";
import { redraw, theme } from "./draw.js";
import { byId, say, warn } from "./page.js";
import { searched } from "./search.js";
import { onChange, set, state } from "./state.js";

const FINEST = 65536; // places are whole numbers of this grid

/**
 * Where the known images' activations lie in a view: {slot, number, x, y}, y down. A slot is the number of a
 * known image. An activation's is the same in every layer: all take it at the same place of its image.
 */
export const placesOf = (layer, view) =>
  keepFile(`${layer}/${view}/places.js`, async (value) => {
    const { slot, ordinal, row, col } = await unpackAll(value),
      { positions } = run;
    const unit = (places) => Float32Array.from(places, (place) => (place + 0.5) / FINEST);
    const number = ordinal ? Uint32Array.from(slot, (image, n) => image * positions + ordinal[n]) : slot;
    return { slot, number, x: unit(col), y: unit(row) };
  });

/** A mask over the known images' activations, by number, that is set for the slots given. */
export const maskOf = (slots) => {
  const { known, positions } = run,
    mask = new Uint8Array(known * positions);
  for (const slot of slots) mask.fill(1, slot * positions, (slot + 1) * positions);
  return mask;
};

/** The part of a link that names a box of a view. */
export const boxName = (layer, view, box) =>
  ["box", encodeURIComponent(layer), encodeURIComponent(view), box.map((n) => n.toFixed(4)).join(",")].join(
    ":",
  );

/** A box of a view from the part of a link that names it; null: none, or broken. */
export function boxOf(found) {
  const [kind, layer, view, corners] = found.split(":");
  const box = (corners ?? "").split(",").map(Number);
  if (kind !== "box" || box.length !== 4 || !box.every(Number.isFinite)) return null;
  try {
    return { layer: decodeURIComponent(layer), view: decodeURIComponent(view), box };
  } catch {
    return null; // a link cut short within a name
  }
}

const known = (layer, view) =>
  run.layers.some((l) => l.name === layer && l.views.some((v) => v.name === view));

/** A mask over the activations in a box of a view. */
export const maskWithin = async ({ layer, view, box: [x0, y0, x1, y1] }) => {
  const { number, x, y } = await placesOf(layer, view),
    mask = maskOf([]);
  for (let n = 0; n < number.length; n++) {
    if (x[n] >= x0 && x[n] < x1 && y[n] >= y0 && y[n] < y1) mask[number[n]] = 1;
  }
  return mask;
};

/** What a link calls found -> {mask over activations, words}; null: nothing, or of another run. */
export const resolved = async (found) => {
  const box = boxOf(found);
  if (box) {
    if (!known(box.layer, box.view)) return null;
    const mask = await maskWithin(box),
      count = mask.reduce((sum, one) => sum + one, 0),
      what = run.positions > 1 ? "activation" : "image";
    return {
      mask,
      words: `${numberWords(count)} ${what}${count === 1 ? "" : "s"} of a region of ${box.layer}`,
    };
  }
  return found ? searched(found) : null;
};

let current = { found: "", mask: null, words: "" };
const points = new Map(); // layer/view -> {x, y} of what is found

/** Whether an activation of a known image is among what is found. */
export const isLit = (number) => Boolean(current.mask?.[number]);

async function pointsIn(layer, view) {
  const { number, x, y } = await placesOf(layer, view),
    xs = [],
    ys = [];
  for (let n = 0; n < number.length; n++) {
    if (current.mask?.[number[n]]) {
      xs.push(x[n]);
      ys.push(y[n]);
    }
  }
  return { x: xs, y: ys };
}

async function loadPoints(layer, view) {
  const { found } = current,
    path = `${layer}/${view}`;
  if (points.has(path) || !current.mask) return;
  try {
    const loaded = await pointsIn(layer, view);
    if (current.found === found) points.set(path, loaded);
  } catch (error) {
    // The other layers have theirs.
    warn(error.message);
  }
  redraw();
}

/** The activations that are lit up, over the densities in the lists. */
export const showThumbnails = () => {
  for (const canvas of document.querySelectorAll(".thumbnail canvas")) {
    const { layer, view } = canvas.dataset,
      context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    const lit = points.get(`${layer}/${view}`);
    if (!lit) continue;
    context.fillStyle = theme().accent;
    const size = lit.x.length > 300 ? 3 : 5;
    for (let n = 0; n < lit.x.length; n++) {
      context.fillRect(lit.x[n] * canvas.width - size / 2, lit.y[n] * canvas.height - size / 2, size, size);
    }
  }
};

let isLacking = false; // what is found could not be loaded

async function follow(found) {
  points.clear();
  current = { found, mask: null, words: "" };
  isLacking = false;
  let what = null,
    fault = "The link's selection is not of this run.";
  try {
    what = await resolved(found);
  } catch (error) {
    fault = error.message;
    isLacking = true;
  }
  if (state.found !== found) return;
  current = { found, mask: what?.mask ?? null, words: what?.words ?? "" };
  byId("found").hidden = !what;
  byId("found-words").textContent = current.words;
  if (what) say(current.words);
  else if (found) warn(fault);
  const { layer, view } = state;
  await loadPoints(layer, view);
  for (const { name, views } of run.layers) await loadPoints(name, views[0].name);
  showThumbnails();
  redraw();
}

/** Of what is found in the view that is shown: its points {x, y} or none, and the box of it if it was one. */
export const litHere = () => {
  const { layer, view } = state,
    region = boxOf(current.found);
  const isHere = region?.layer === layer && region?.view === view;
  return { points: points.get(`${layer}/${view}`), box: isHere ? region.box : null };
};

export const startFound = () => {
  byId("found-clear").onclick = () => set({ found: "" });
  onChange((names) => {
    const isElsewhere = names.has("layer") || names.has("view");
    if (names.has("found") || (isElsewhere && isLacking)) follow(state.found);
    else if (isElsewhere) loadPoints(state.layer, state.view).then(showThumbnails);
  });
};
