// The page of a unit.

import { addressOf, cellsOf, fileOf, titleOf } from "./address.js";
import { circuitSection, layersBeside } from "./circuit_view.js";
import { cachedFile, fileCache, run } from "./data.js";
import { cellSection, classSection, iconSection } from "./evidence_of_unit.js";
import { exampleSections, histogram, numberList } from "./examples_view.js";
import { element } from "./page.js";
import { openedSheet, square } from "./sheets_of_units.js";

const unitFile = fileCache(24);

/** The units before and after a unit in its layer's list; null at an end. */
export const neighbours = (list, unit) => {
  const at = list.units.findIndex((one) => one.unit === unit);
  return [list.units[at - 1]?.unit ?? null, list.units[at + 1]?.unit ?? null];
};

const listOf = (name) => cachedFile(fileOf(name, "list.js"));

/** Whether a layer has a page for a unit. */
export const hasUnit = async (layer, unit) => (await listOf(layer.name)).units.some((one) => one.unit === unit);

/** By layer the units with pages, of the layers that a unit's weights lead to. */
async function pagesBeside(values) {
  const names = layersBeside(values);
  const lists = await Promise.all(names.map(listOf));
  return new Map(lists.map((list) => [list.layer, new Set(list.units.map((one) => one.unit))]));
}

/** The families of tuning that a unit is in, each a link to its figure. */
function familySection(layer, unit) {
  const found = Object.entries(layer.families).filter(([, units]) => units.includes(unit));
  if (!found.length) return [];
  return [
    element("h2", { textContent: "Its rotations" }),
    ...found.map(([file, units]) =>
      element(
        "p",
        { className: "lede" },
        `It is one of ${units.length} units that respond alike to shapes at different orientations: `,
        element("a", { href: `../${file.split("/").map(encodeURIComponent).join("/")}`, textContent: "their tuning" }),
        ".",
      ),
    ),
  ];
}

const sheetOf = async (one) => (one ? openedSheet(one) : null);

/** The page of a unit of a layer. */
export const unitPage = async (layer, unit) => {
  const [list, values, cells] = await Promise.all([
    listOf(layer.name),
    unitFile(fileOf(layer.name, `unit-${unit}.js`)),
    layer.cells ? cachedFile(cellsOf(layer.name)) : null,
  ]);
  const [patches, icons, ends, ofCells, pages] = await Promise.all([
    sheetOf(values.patches),
    sheetOf(values.icons),
    sheetOf(values.weights?.icons),
    sheetOf(cells?.icons),
    pagesBeside(values),
  ]);
  const [before, after] = neighbours(list, unit);
  const step = (to, words, rel) =>
    to === null ? "" : element("a", { href: addressOf(layer.name, to), rel, textContent: words });
  const neuron = values.icons?.kinds.findIndex(([kind]) => kind === "neuron") ?? -1;
  return [
    element("p", { className: "kicker", textContent: `${run.model}, unit` }),
    element("h1", {}, element("bdi", { textContent: titleOf(layer.name, unit) })),
    ...(values.dead ? [element("p", { className: "dead", textContent: values.dead })] : []),
    element("p", { className: "steps" }, step(before, `← ${before}`, "prev"), step(after, `${after} →`, "next")),
    ...iconSection(values, icons),
    ...exampleSections(values, patches),
    ...histogram(values),
    numberList(values),
    ...familySection(layer, unit),
    ...classSection(values),
    ...cellSection(values, cells, ofCells),
    ...circuitSection(values, neuron < 0 ? null : square(icons, neuron), ends, pages),
  ];
};
