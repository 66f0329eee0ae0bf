// Selections of activations across layers. Every layer has seen the same images, so activations that are
// selected in one layer are highlighted in all layers.

import { numberWords } from "./cells.js";
import { cachedFile, run, unpackAll } from "./data.js";
import { redraw, theme } from "./draw.js";
import { showGallery } from "./gallery.js";
import { byId, say, warn } from "./page.js";
import { searched } from "./search.js";
import { onChange, set, state } from "./state.js";
import { furtherPlaces, mostKnown, PLACE_GRID } from "./whole.js";

/**
 * The places of the known images' activations in a view: {slot, number, x, y}, y down. slot: number of the
 * image among the known ones. number: identifies an activation in all layers, because every layer is sampled
 * at the same relative positions of an image.
 */
export const placesOf = (layer, view) =>
  cachedFile(`${layer}/${view}/places.js`, async (value) => {
    const { slot, ordinal, row, col } = await unpackAll(value),
      { positions } = run;
    const unit = (places) => Float32Array.from(places, (place) => (place + 0.5) / PLACE_GRID);
    const known = {
      slot: [...slot],
      ordinal: ordinal ?? new Uint16Array(slot.length),
      x: unit(col),
      y: unit(row),
    };
    const further = await furtherPlaces(layer, view);
    const both = (name) => (further ? [...known[name], ...further[name]] : known[name]),
      ordinals = both("ordinal"),
      slots = Uint16Array.from(both("slot"));
    const number = Uint32Array.from(slots, (image, n) => image * positions + ordinals[n]);
    return { slot: slots, number, x: Float32Array.from(both("x")), y: Float32Array.from(both("y")) };
  });

/** A mask over the known images' activations, by number, that is 1 for the images in these slots. */
export const maskOf = (slots) => {
  const { positions } = run,
    mask = new Uint8Array(mostKnown() * positions);
  for (const slot of slots) mask.fill(1, slot * positions, (slot + 1) * positions);
  return mask;
};

/** A box of a view, encoded for a link. */
export const boxName = (layer, view, box) =>
  ["box", encodeURIComponent(layer), encodeURIComponent(view), box.map((n) => n.toFixed(4)).join(",")].join(
    ":",
  );

/** The box of a view that boxName encoded: {layer, view, box}; null for anything else. */
export function boxOf(found) {
  const [kind, layer, view, corners] = found.split(":");
  const box = (corners ?? "").split(",").map(Number);
  if (kind !== "box" || box.length !== 4 || !box.every(Number.isFinite)) return null;
  try {
    return { layer: decodeURIComponent(layer), view: decodeURIComponent(view), box };
  } catch {
    return null; // the link was truncated within a name
  }
}

/** The cells of a view that a picture's page encoded: {layer, view, cells: {x, y}}, their centres; or null. */
export function cellsNamed(found) {
  const [kind, layer, view, size, listed] = found.split(":");
  const places = (listed ?? "").split("-").map((one) => one.split(".").map(Number));
  const fits = ([row, col]) => row >= 0 && col >= 0 && row < size && col < size;
  if (kind !== "cells" || !places.every((one) => one.length === 2 && fits(one))) return null;
  try {
    return {
      layer: decodeURIComponent(layer),
      view: decodeURIComponent(view),
      cells: { x: places.map((one) => (one[1] + 0.5) / size), y: places.map((one) => (one[0] + 0.5) / size) },
    };
  } catch {
    return null; // the link was truncated within a name
  }
}

const known = (layer, view) =>
  run.layers.some((l) => l.name === layer && l.views.some((v) => v.name === view));

/** A mask over the activations, by number, that is 1 for those in a box of a view. */
export const maskWithin = async ({ layer, view, box: [x0, y0, x1, y1] }) => {
  const { slot, number, x, y } = await placesOf(layer, view),
    mask = maskOf([]);
  for (let n = 0; n < number.length; n++) {
    // Images that are known because they are shown whole are no random part of all: a region counts without them.
    if (slot[n] < run.known && x[n] >= x0 && x[n] < x1 && y[n] >= y0 && y[n] < y1) mask[number[n]] = 1;
  }
  return mask;
};

/**
 * The selection encoded as `found` in a link: {mask over activations, words}; null: none, or of another run. Cells
 * that a picture lies on have no mask: they are places of one view alone, {layer, view, cells}.
 */
export const resolved = async (found) => {
  const named = cellsNamed(found);
  if (named) {
    const num = named.cells.x.length;
    return known(named.layer, named.view)
      ? { mask: null, ...named, words: `${num} ${num === 1 ? "cell" : "cells"} of ${named.layer} that a picture lies on` }
      : null;
  }
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
const points = new Map(); // layer/view -> {x, y} of the selected activations

/** Whether the activation with this number is selected. */
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
    // Other layers can still be shown.
    warn(error.message);
  }
  redraw();
}

/** Draw the selected activations over the density thumbnails in the lists. */
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

let isLacking = false; // whether the selection could not be loaded

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
  if (what?.cells) points.set(`${what.layer}/${what.view}`, what.cells);
  showGallery(found.startsWith("image:") ? null : current.mask);
  if (what) say(current.words);
  else if (found) warn(fault);
  const { layer, view } = state;
  await loadPoints(layer, view);
  for (const { name, views } of run.layers) await loadPoints(name, views[0].name);
  showThumbnails();
  redraw();
}

/** The selection in a view: its points {x, y} if loaded, and its box if it is a box of this view. */
export const litIn = (layer, view) => {
  const region = boxOf(current.found);
  const isHere = region?.layer === layer && region?.view === view;
  return { points: points.get(`${layer}/${view}`), box: isHere ? region.box : null };
};

/** The selection in the shown view. */
export const litHere = () => litIn(state.layer, state.view);

export const startFound = () => {
  byId("found-clear").onclick = () => set({ found: "" });
  onChange((names) => {
    const isElsewhere = names.has("layer") || names.has("view");
    if (names.has("found") || (isElsewhere && isLacking)) follow(state.found);
    else if (isElsewhere) loadPoints(state.layer, state.view).then(showThumbnails);
  });
};
