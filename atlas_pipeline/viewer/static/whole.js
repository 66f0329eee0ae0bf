// The images that are shown whole, from whole_images/: their pictures, predicted classes and activations; and with
// them the images that can be found.

import { cachedFile, decodedImage, fileCache, run, unpackAll } from "./data.js";

export const PLACE_GRID = 65536; // places are cells of a grid with this many rows and columns
const PROBABILITIES = 1000; // steps of a probability
const ALONG = 4; // pictures along a side of a file
export const RIGHT = { 1: true, 0: false }; // isRight as stored; other values: not known

const unit = (places) => Float32Array.from(places, (place) => (place + 0.5) / PLACE_GRID);

async function readLayer(layer) {
  const { name, height, width, slot, ordinal, row, col, x, y } = await unpackAll(layer),
    of = new Map(); // slot -> numbers of its activations
  slot.forEach((image, n) => of.set(image, [...(of.get(image) ?? []), n]));
  return { name, height, width, slot, ordinal, row, col, x: unit(x), y: unit(y), of };
}

/** The content of images.js with its arrays unpacked; layers: by name. */
export const wholeOf = async (value) => {
  const { layers, ...rest } = await unpackAll(value),
    read = await Promise.all(layers.map(readLayer));
  return {
    ...rest,
    slotOf: new Map([...rest.imageId].map((image, slot) => [image, slot])),
    layers: new Map(read.map((layer) => [layer.name, layer])),
  };
};

/** A promise of the images that are shown whole; null if the run has none. */
export const wholeImages = async () =>
  run.wholeImages ? cachedFile("whole_images/images.js", wholeOf) : null;

/** What is known of an image that is shown whole: {image, slot, key, label, predicted, probability, isRight}. */
export const factsOf = (whole, slot) => ({
  image: whole.imageId[slot],
  slot,
  key: whole.key[slot],
  label: whole.labelNames[whole.label[slot]] ?? "",
  predicted: whole.classNames[whole.predicted[slot]],
  probability: whole.probability[slot] / PROBABILITIES,
  isRight: RIGHT[whole.isRight[slot]] ?? null,
});

/** The activations of a shown image in a layer: [{ordinal, row, col, height, width, x, y}], y down. */
export const activationsOf = (whole, slot, name) => {
  const layer = whole.layers.get(name);
  return (layer?.of.get(slot) ?? []).map((n) => ({
    ordinal: layer.ordinal[n],
    row: layer.row[n],
    col: layer.col[n],
    height: layer.height,
    width: layer.width,
    x: layer.x[n],
    y: layer.y[n],
  }));
};

const sheets = fileCache(12);

/** A promise of an image's picture as a canvas. */
export const wholePicture = async (whole, slot) => {
  const { px, aFile } = whole,
    place = slot % aFile;
  const sheet = await sheets(`whole_images/pictures-${Math.floor(slot / aFile)}.js`, (value) =>
    decodedImage(value),
  );
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = px;
  const [left, top] = [(place % ALONG) * px, Math.floor(place / ALONG) * px];
  canvas.getContext("2d").drawImage(sheet, left, top, px, px, 0, 0, px, px);
  return canvas;
};

async function findable(keys) {
  const all = await unpackAll(keys),
    whole = await wholeImages();
  const images = [...all.imageId],
    slots = new Map(images.map((image, slot) => [image, slot])),
    [key, label, labelNames] = [[...all.key], [...all.label], [...all.labelNames]];
  // Images that are shown whole follow those of keys.js.
  whole?.imageId.forEach((image, slot) => {
    if (slots.has(image)) return;
    slots.set(image, images.length);
    images.push(image);
    key.push(whole.key[slot]);
    const which = whole.label[slot];
    label.push(which < 0 ? -1 : whole.labels[which]);
    if (which >= 0) labelNames[whole.labels[which]] ??= whole.labelNames[which];
  });
  return { imageId: images, key, label, labelNames, slots };
}

/**
 * A promise of the images that can be found: {imageId, key, label, labelNames, slots: image id -> slot}. The slots
 * below run.known are a random part of all images.
 */
export const knownImages = () => cachedFile("keys/keys.js", findable);

/** The largest number of images that can be found. */
export const mostKnown = () => run.known + (run.known < run.images ? (run.wholeImages ?? 0) : 0);

/** The activations in a layer of the images that only whole_images/ knows: {slot, ordinal, x, y}; null: none. */
export const furtherPlaces = async (name, view) => {
  if (mostKnown() === run.known || view !== "all") return null;
  const whole = await wholeImages(),
    { slots } = await knownImages(),
    layer = whole?.layers.get(name);
  if (!layer) return null;
  const chosen = [...layer.slot.keys()].filter((n) => slots.get(whole.imageId[layer.slot[n]]) >= run.known);
  const of = (column) => chosen.map((n) => column[n]);
  return {
    slot: of(layer.slot).map((slot) => slots.get(whole.imageId[slot])),
    ordinal: of(layer.ordinal),
    x: of(layer.x),
    y: of(layer.y),
  };
};
