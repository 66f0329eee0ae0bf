// The page's address: the layer, the position in it, the class, the class it is compared with, and the method.

import { run } from "./data.js";

/** The place that an address names; what the run does not have becomes the first of its kind. */
export const placeOf = (hash) => {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const numbers = (given.get("position") ?? "").split(".").map(Number);
  const known = run.layers.includes(given.get("layer"));
  return {
    layer: known ? given.get("layer") : run.layers[0],
    isLost: given.has("layer") && !known,
    position: numbers.length === 2 && numbers.every((one) => Number.isInteger(one) && one >= 0) ? numbers : null,
    class: /^\d+$/.test(given.get("class") ?? "") ? Number(given.get("class")) : null,
    minus: /^\d+$/.test(given.get("minus") ?? "") ? Number(given.get("minus")) : null,
    by: given.get("by") === "path" ? "path" : "gradient",
  };
};

/** The address of a place, without what is not chosen. */
export const addressOf = (place) => {
  const parts = new URLSearchParams({ layer: place.layer });
  if (place.position) parts.set("position", place.position.join("."));
  if (place.class !== null) parts.set("class", String(place.class));
  if (place.minus !== null) parts.set("minus", String(place.minus));
  if (place.by !== "gradient") parts.set("by", place.by);
  return `#${parts.toString()}`;
};

/** The address of the atlas, with cells of a layer's finest grid lit up: [[row, col], ...]. */
export const atlasOf = (layer, cells) => {
  const unique = [...new Set(cells.map((one) => one.join(".")))];
  const found = ["cells", encodeURIComponent(layer), "all", run.grid, unique.join("-")].join(":");
  return `../../index.html#${new URLSearchParams({ layer, found })}`;
};

/** The address of a cell of the atlas. */
export const cellOf = (layer, { row, col }) =>
  `../../index.html#${new URLSearchParams({ layer, cell: `${run.grid}.${row}.${col}` })}`;

/** The address of a unit's page. */
export const unitOf = (layer, unit) =>
  `../../units/index.html#${new URLSearchParams({ layer, unit: String(unit) })}`;
