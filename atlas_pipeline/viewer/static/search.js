// Search for images by number, name and label.

import { besidePanel, cameraOf, flyTo, largestZoom } from "./camera.js";
import { fitted, homePlace } from "./fitting.js";
import { numberWords } from "./cells.js";
import { choiceField, matching } from "./choice.js";
import { run } from "./data.js";
import { maskOf, placesOf } from "./found.js";
import { byId, notice, showSide, warn } from "./page.js";
import { set, state } from "./state.js";
import { knownImages, wholeImages } from "./whole.js";

const labelOf = (all, slot) =>
  all.labelNames[all.label[slot]] ?? (all.label[slot] >= 0 ? `label ${all.label[slot]}` : "");

function labelOptions(all) {
  const counts = new Map();
  for (const label of all.label) if (label >= 0) counts.set(label, (counts.get(label) ?? 0) + 1);
  return [...counts]
    .sort((a, b) => a[0] - b[0])
    .map(([label, count]) => ({
      words: all.labelNames[label] ?? `label ${label}`,
      beside: `label, ${numberWords(count)} images`,
      value: `label:${label}`,
    }));
}

const imageOption = (all, slot) => ({
  words: all.key[slot],
  beside: [`image ${all.imageId[slot]}`, labelOf(all, slot)].filter(Boolean).join(", "),
  value: `image:${all.imageId[slot]}`,
});

/** The predicted classes of the images that are shown whole, and the images predicted wrongly, as options. */
export function predictionOptions(whole) {
  if (!whole) return [];
  const counts = new Map();
  for (const which of whole.predicted) counts.set(which, (counts.get(which) ?? 0) + 1);
  const shown = `of ${numberWords(whole.imageId.length)} images shown whole`,
    numWrong = [...whole.isRight].filter((one) => one === 0).length;
  const options = [...counts]
    .sort((a, b) => whole.classes[a[0]] - whole.classes[b[0]])
    .map(([which, count]) => ({
      words: whole.classNames[which],
      beside: `predicted class, ${numberWords(count)} ${shown}`,
      value: `predicted:${whole.classes[which]}`,
    }));
  const wrong = { words: "Wrong predictions", beside: `${numberWords(numWrong)} ${shown}`, value: "right:0" };
  return numWrong ? [wrong, ...options] : options;
}

/** The options for a text: labels, predicted classes, an image by its number, images by name. */
export function optionsFor(all, text, whole = null) {
  const found = [...matching(labelOptions(all), text), ...matching(predictionOptions(whole), text)];
  if (!text) return found;
  const number = text.replace(/^(image\s*|#)/i, ""),
    exact = /^\d+$/.test(number) ? all.imageId.indexOf(Number(number)) : -1;
  if (exact >= 0) found.unshift(imageOption(all, exact));
  else if (/^\d+$/.test(number) && Number(number) < run.images) {
    found.push({
      words: `Image ${number} is not among the ${numberWords(all.imageId.length)} that can be found`,
    });
  }
  const wanted = text.toLowerCase();
  for (let slot = 0; slot < all.key.length; slot++) {
    if (slot !== exact && all.key[slot].toLowerCase().includes(wanted)) found.push(imageOption(all, slot));
  }
  return found;
}

const find = async (text) => (run.keys ? optionsFor(await knownImages(), text, await wholeImages()) : []);

/** The slots among the known images of those shown whole with a predicted class, or predicted wrongly. */
async function predictedAs(all, kind, number) {
  const whole = await wholeImages();
  if (!whole) return null;
  const which = kind === "right" ? Number(number) : whole.classes.indexOf(Number(number)),
    column = kind === "right" ? whole.isRight : whole.predicted;
  const slots = [...column.keys()].filter((slot) => column[slot] === which),
    count = `${numberWords(slots.length)} image${slots.length === 1 ? "" : "s"}`;
  const how = { 0: "wrongly", 1: "rightly" }[number];
  const words =
    kind === "right" ? `${count} predicted ${how}` : `${count} predicted as ${whole.classNames[which]}`;
  if (!slots.length || (kind === "right" && !how)) return null;
  return { mask: maskOf(slots.map((slot) => all.slots.get(whole.imageId[slot]))), words };
}

/**
 * The selection of "image:12", "label:3", "predicted:3" or "right:0": {mask over activations, words}; null: not in
 * this run.
 */
export const searched = async (found) => {
  const [kind, number] = found.split(":");
  if (!run.keys || !/^\d+$/.test(number ?? "")) return null;
  const all = await knownImages();
  if (kind === "predicted" || kind === "right") return predictedAs(all, kind, number);
  if (kind === "image") {
    const slot = all.slots.get(Number(number));
    if (slot === undefined) return null;
    return { mask: maskOf([slot]), words: `Image ${number}: ${all.key[slot]}` };
  }
  if (kind !== "label") return null;
  const slots = [...all.label.keys()].filter((slot) => all.label[slot] === Number(number));
  return slots.length
    ? {
        mask: maskOf(slots),
        words: `${numberWords(slots.length)} images of label ${all.labelNames[number] ?? number}`,
      }
    : null;
};

const middle = (values) => (Math.min(...values) + Math.max(...values)) / 2;
const extent = (values) => Math.max(...values) - Math.min(...values);

/** Select an image and move to its activation, or to a place where all of its activations are visible. */
async function goToImage(image) {
  if (!run.keys) return void notice("This run has no list of images to find.");
  const all = await knownImages(),
    slot = all.slots.get(image);
  if (slot === undefined)
    return void notice(
      `Image ${image} is not among the ${numberWords(all.imageId.length)} that can be found.`,
    );
  showSide(false);
  set({ found: `image:${image}`, image: String(image) });
  const { layer, view, z } = state,
    places = await placesOf(layer, view),
    here = (values) => [...values].filter((_, n) => places.slot[n] === slot);
  const [x, y] = [here(places.x), here(places.y)];
  if (!x.length) return void notice(`Image ${image} is not in this view.`);
  const nearest = 0.8 / Math.max(extent(x), extent(y));
  const wanted = Math.max(z, Math.min(4, largestZoom()));
  flyTo(besidePanel({ x: middle(x), y: middle(y), z: Math.max(1, Math.min(wanted, nearest)) }));
}

/** Select the images of a label and move to where most of their activations are. */
async function goToLabel(found) {
  set({ found });
  const selection = await searched(found),
    { layer, view } = state,
    places = await placesOf(layer, view);
  const chosen = [...places.number.keys()].filter((n) => selection?.mask[places.number[n]]);
  if (!chosen.length) return void notice("None of these images is in this view.");
  // Leave out the outermost tenth on every side, so that a few strays do not keep the map from moving.
  const [x, y] = [places.x, places.y].map((all) => chosen.map((n) => all[n]).sort((a, b) => a - b));
  const inner = (values) => [0.1, 0.9].map((part) => values[Math.round(part * (values.length - 1))]);
  const [[left, right], [top, bottom]] = [inner(x), inner(y)];
  const { width, height } = cameraOf(),
    home = homePlace();
  const place = fitted({ left, top, right: right + 1e-6, bottom: bottom + 1e-6 }, width, height);
  flyTo({ ...place, z: Math.min(largestZoom(), 6, Math.max(home.z, 0.8 * place.z)) });
}

export const findImage = (image) => goToImage(image).catch((error) => warn(error.message));

export const startSearch = () => {
  choiceField({
    input: byId("find"),
    list: byId("find-list"),
    find: (text) => find(text).catch((error) => (warn(error.message), [])),
    choose: (found) => {
      const [kind, number] = found.split(":");
      byId("find").blur();
      if (kind === "image") findImage(Number(number));
      else goToLabel(found).catch((error) => warn(error.message));
    },
  });
};
