// The page of an atom, in place of a unit's.

import { addressOf, fileOf, titleOf } from "./address.js";
import { cellsOfLayer, hasAtlas, levelsOf, litAddress, smallMap } from "./atom_maps.js";
import { cachedFile, fileCache, run } from "./data.js";
import { cellSection, classSection } from "./evidence_of_unit.js";
import { exampleSections, histogram, numberList } from "./examples_view.js";
import { element } from "./page.js";
import { openedSheet, percent, short, square } from "./sheets_of_units.js";

const atomFile = fileCache(24);
const listOf = (name) => cachedFile(fileOf(name, "list.js"));

/** Whether a layer has a page for an atom. */
export const hasUnit = async (layer, atom) => (await listOf(layer.name)).units.some((one) => one.unit === atom);

const sheetOf = async (one) => (one ? openedSheet(one) : null);

const stepLink = (layer, one, words, rel) =>
  one ? element("a", { href: addressOf(layer, one.unit), rel, textContent: words }) : "";

function head(values, icon, cells, levels) {
  const figures = [];
  if (icon)
    figures.push(
      element(
        "figure",
        {},
        square(icon, 0, "Icon of the atom"),
        element("figcaption", { textContent: `icon, fidelity ${short(values.icons.fidelity)}` }),
      ),
    );
  figures.push(
    element(
      "figure",
      {},
      smallMap(cells, levels, "Map of the atlas: mean strength of the atom in each cell"),
      element(
        "figcaption",
        {},
        "the cells it lights",
        ...(hasAtlas() && !values.dead
          ? [" (", element("a", { href: litAddress(values.layer, cells, levels), textContent: "on the atlas" }), ")"]
          : []),
      ),
    ),
  );
  return element("div", { className: "atom-head" }, ...figures);
}

/** The page of an atom of a layer. */
export const unitPage = async (layer, atom) => {
  const [list, values, cells] = await Promise.all([
    listOf(layer.name),
    atomFile(fileOf(layer.name, `atom-${atom}.js`)),
    cellsOfLayer(layer.name),
  ]);
  const [patches, icon, ofCells] = await Promise.all([
    sheetOf(values.patches),
    sheetOf(values.icons),
    sheetOf(values.cells.icons),
  ]);
  const at = list.units.findIndex((one) => one.unit === atom),
    [before, after] = [list.units[at - 1], list.units[at + 1]];
  const named = { grid: cells.grid, units: { [atom]: values.cells.list } };
  return [
    element("p", { className: "kicker", textContent: `${run.model}, atom` }),
    element("h1", {}, element("bdi", { textContent: titleOf(layer.name, atom) })),
    element("p", {
      className: "lede",
      textContent: `It carries ${percent(values.share)} of the energy of the layer's activations.`,
    }),
    ...(values.dead ? [element("p", { className: "dead", textContent: values.dead })] : []),
    element(
      "p",
      { className: "steps" },
      stepLink(layer.name, before, `← ${before?.unit}`, "prev"),
      stepLink(layer.name, after, `${after?.unit} →`, "next"),
    ),
    head(values, icon, cells, levelsOf(cells, at)),
    ...exampleSections(values, patches),
    ...histogram(values),
    numberList(values),
    ...classSection(values),
    ...(hasAtlas() ? cellSection(values, named, ofCells) : []),
  ];
};
