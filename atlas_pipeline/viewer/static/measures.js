// The numbers by which the map's cells can be coloured.

import { decimals, levelled, measureOf, numberWords } from "./cells.js";
import { fileStore, loadFile, run, unpackAll } from "./data.js";
import { arrived } from "./legend.js";

/** name -> {words, value(grid, cell), log?, percent?, group, unit, ready?(grid)}; a value is null if not known. */
export const MEASURES = {};

const shares = fileStore(40);

/** The numbers of one share for a grid; null while they load. */
function share(grid, number) {
  const file = `${grid.folder}/share-${number}.js`;
  return shares.get(file, () => loadFile(file).then(unpackAll), arrived);
}

/** The units of measures by kind. */
const UNITS = {
  cosine: "cosine, 1 is best",
  share: "share",
  rank: "rank, 0 is best",
  distance: "distance",
  ratio: "1: as a real patch",
};

/** Fill MEASURES with the run's measures, and with the shares and means of the images' columns. */
export const startMeasures = () => {
  const cells = "Cells",
    icons = "Icons";
  MEASURES.count = {
    words: "Activations",
    value: (grid, cell) => grid.count[cell],
    log: true,
    unit: "number in a cell",
    group: cells,
  };
  for (const measure of run.measures) {
    const { name, kind, colour: words, ofIcon } = measure;
    if (!words) continue;
    MEASURES[name] = {
      words,
      value: (grid, cell) => measureOf(grid, measure, cell),
      percent: kind === "share",
      unit: name === "consistency" ? "share of a cell's activations" : UNITS[kind],
      group: ofIcon ? icons : cells,
    };
  }
  MEASURES.classes = { words: "Top class", group: cells };
  run.shares.forEach(({ column, value }, number) => {
    MEASURES[`share-${number}`] = {
      words: value === null ? `Mean ${column}` : `${column}: ${value}`,
      group: value === null ? "Means of the images" : `Share of images by ${column}`,
      percent: value !== null,
      isShare: true,
      unit: value === null ? "mean of a cell's images" : "share of a cell's activations",
      ready: (grid) => share(grid, number) !== null,
      value: (grid, cell) => {
        const numbers = share(grid, number);
        return numbers === null ? null : levelled(numbers.levels[cell], numbers.step);
      },
    };
  });
};

/** The range of a measure over a grid, from the 1st to the 99th percentile; null if no value is known. */
export const rangeOf = (grid, name) => {
  const { value, percent } = MEASURES[name],
    values = [];
  for (let cell = 0; cell < grid.cells; cell++) {
    const number = value(grid, cell);
    if (number !== null) values.push(number);
  }
  if (!values.length) return null;
  values.sort((a, b) => a - b);
  const at = (part) => values[Math.round(part * (values.length - 1))];
  // The range of a share starts at 0. If fewer than 1 % of cells have one, it ends at the maximum.
  return percent ? [0, at(0.99) || at(1)] : [at(0.01), at(0.99)];
};

/** A value of a measure as text. */
export const measured = (name, number) => {
  if (MEASURES[name].percent) return `${Math.round(100 * number)} %`;
  const isWhole = name === "count" || Math.abs(number) >= 100;
  return isWhole ? numberWords(Math.round(number)) : decimals(number);
};
