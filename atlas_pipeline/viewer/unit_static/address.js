// The page's address: which layer and which unit it shows.

import { run } from "./data.js";
import { WORDS } from "./words.js";

/** The address of a page: all layers, a layer, or a unit. */
export const addressOf = (layer, unit = null) =>
  layer === null
    ? "#"
    : `#${new URLSearchParams({ layer, ...(unit === null ? {} : { [WORDS.file]: String(unit) }) }).toString()}`;

/** The layer and the unit of the address: {layer, unit}, each null where there is none. */
export const placeOf = (hash) => {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const unit = given.get(WORDS.file);
  return { layer: given.get("layer"), unit: unit === null || !/^\d+$/.test(unit) ? null : Number(unit) };
};

/** The description of a layer by name; undefined if the run has no such layer. */
export const layerNamed = (name) => run.layers.find((one) => one.name === name);

/** The path of a file of a layer, from the folder of this page. */
export const fileOf = (layer, name) => `../${layer}/${WORDS.folder}/${name}`;

/** The path of the file that joins a layer's units and the cells of its atlas. */
export const cellsOf = (layer) => `../${layer}/all/unit-cells.js`;

/** A unit as people write it: ``4c:447``. */
export const titleOf = (layer, unit) => `${layer}:${unit}`;
