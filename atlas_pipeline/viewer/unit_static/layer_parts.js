// The sections on units of a layer's page.

import { counted } from "./sheets_of_units.js";

/** The line under the layer's name. */
export const layerWords = (layer) =>
  `${counted(layer.units, "unit")}${layer.dead ? `, ${layer.dead} of them dead` : ""}.`;

/** The small print of a layer in the list of layers. */
export const layerNote = (layer) =>
  `${counted(layer.units, "unit")}, ${layer.images.toLocaleString("en")} images` +
  (layer.dead ? `, ${layer.dead} dead` : "");

/** Sections below the units: none. */
export const layerSections = async () => [];
