// The sections on atoms of a layer's page: how they were found, where each is, and what none explains.

import { addressOf, titleOf } from "./address.js";
import { cellAddress, cellsOfLayer, hasAtlas, levelsOf, smallMap } from "./atom_maps.js";
import { element } from "./page.js";
import { counted, openedSheet, percent, square } from "./sheets_of_units.js";

const METHODS = {
  nmf: "non-negative matrix factorisation",
  dictionary: "a sparse dictionary",
  file: "a sparse autoencoder's decoder",
};

/** The small print of a layer in the list of layers. */
export const layerNote = (layer) =>
  `${counted(layer.atoms, "atom")} of ${METHODS[layer.method]}, ${percent(layer.left)} of the energy left over`;

/** The line under the layer's name. */
export const layerWords = (layer) =>
  `${counted(layer.atoms, "atom")} of ${METHODS[layer.method]}` +
  (layer.method === "file" ? "" : `, fitted to ${counted(layer.fitted, "activation")}`) +
  `. Of the energy (squared length) of ${counted(layer.activations, "activation")} they leave ` +
  `${percent(layer.left)} over; as many directions of either sign leave at least ${percent(layer.leastLeft)}.` +
  (layer.units < layer.atoms ? ` The ${layer.units} atoms that carry most have pages.` : "") +
  (layer.dead ? ` ${layer.dead === 1 ? "One is" : `${layer.dead} are`} dead.` : "");

const mapTile = (layer, list, cells, one, at) =>
  element(
    "a",
    {
      className: "tile",
      href: addressOf(layer.name, one.unit),
      "aria-label": `Cells of ${titleOf(layer.name, one.unit)}`,
    },
    smallMap(cells, levelsOf(cells, at), ""),
    element("b", { textContent: String(one.unit) }),
  );

const worstRow = (layer, cells, sheet, [row, col, left, count], slot) => {
  const words = `row ${row + 1}, column ${col + 1}`,
    href = cellAddress(layer.name, cells.grid, row, col);
  return element(
    "tr",
    {},
    element("td", {}, sheet ? square(sheet, slot, `Icon of the cell in ${words}`) : ""),
    element("td", {}, hasAtlas() ? element("a", { href, textContent: words }) : words),
    element("td", { textContent: percent(left) }),
    element("td", { textContent: count.toLocaleString("en") }),
  );
};

/** The sections below the atoms. */
export const layerSections = async (layer, list) => {
  const cells = await cellsOfLayer(layer.name),
    sheet = cells.icons ? await openedSheet(cells.icons) : null;
  const heads = ["icon", "cell", "left over", "activations"].map((words) =>
    element("th", { scope: "col", textContent: words }),
  );
  return [
    element("h2", { textContent: "Which cells each atom lights" }),
    element("p", {
      className: "note",
      textContent: `The atlas's cells (grid ${cells.grid}), as full in colour as the atom is strong there on average, each atom on its own scale.`,
    }),
    element("div", { className: "tiles maps" }, ...list.units.map((one, at) => mapTile(layer, list, cells, one, at))),
    element("h2", { textContent: "What no atom explains" }),
    element("p", {
      className: "note",
      textContent: "The share of each cell's energy that the atoms leave over: full colour is all of it.",
    }),
    element(
      "div",
      { className: "left" },
      smallMap(cells, cells.left, "Map of the cells: the share of their energy that no atom explains"),
      element(
        "div",
        { className: "scroll", role: "group", tabIndex: 0, "aria-label": "Cells of which most is left over" },
        element(
          "table",
          {},
          element("caption", { textContent: "The cells of which most is left over" }),
          element("thead", {}, element("tr", {}, ...heads)),
          element("tbody", {}, ...cells.worst.map((one, slot) => worstRow(layer, cells, sheet, one, slot))),
        ),
      ),
    ),
  ];
};
