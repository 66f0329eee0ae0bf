// A highlighted class on the map: the names of its strongest cells, and its strength on an absolute scale.

import { cameraOf, flyTo } from "./camera.js";
import { gridShown, shortLabelOf, signed } from "./cells.js";
import { inLines } from "./names.js";
import { attributionOf, opacityOf } from "./overlay.js";
import { set, state } from "./state.js";

const MOST = 6; // cells with names
const APART_PX = 110; // least distance between two of them on the screen
const LEAST_OPACITY = 0.35; // opacity from which a cell may have a name
let last = { name: "", cells: [] };
let sought = ""; // class to whose strongest cell the map still has to move

/** The mean attribution of a cell to the highlighted class, in logits. */
export const logitsOf = ({ levels, most, least }, cell) =>
  (levels[cell] * (levels[cell] > 0 ? most : least)) / 127;

/** The cells that the highlighted class is strongest in, apart from each other, strongest first. */
function strongest(grid, attribution, scale) {
  const apart = APART_PX / scale,
    sign = state.sign === "for" ? 1 : -1,
    chosen = [];
  const ranked = [...attribution.levels.keys()]
    .filter((cell) => opacityOf(attribution, cell) >= LEAST_OPACITY)
    .sort((a, b) => sign * (attribution.levels[b] - attribution.levels[a]));
  const [x, y] = [grid.col, grid.row];
  for (const cell of ranked) {
    if (chosen.length === MOST) break;
    const far = (other) => Math.hypot(x[cell] - x[other], y[cell] - y[other]) / grid.size;
    if (chosen.every((other) => far(other) >= apart)) chosen.push(cell);
  }
  return chosen;
}

/**
 * The strongest cells of the highlighted class as names: their own top class, and their logits for it.
 * rows: heights on the map at which a name may lie, the best first.
 */
export const litNames = (grid, scale) => {
  const attribution = state.lit === "" ? null : attributionOf(grid);
  if (!attribution) return [];
  const level = Math.round(Math.log2(scale) * 4);
  const name = `${grid.folder}#${state.lit}#${state.sign}#${state.strength}#${level}`;
  if (last.name !== name) last = { name, cells: strongest(grid, attribution, 2 ** (level / 4)) };
  const words = (cell, rank) => {
    // The class itself is named once, on its strongest cell.
    const isItsOwn = grid.top[cell * grid.numTop] === attribution.column;
    const name = isItsOwn && rank ? "" : shortLabelOf(grid, cell);
    return `${name} ${signed(logitsOf(attribution, cell))}`.trim();
  };
  return last.cells.map((cell, rank) => ({
    lines: inLines(words(cell, rank)),
    x: (grid.col[cell] + 0.5) / grid.size,
    // At the foot of the cell, or else at its head.
    rows: [0.88, 0.12].map((share) => (grid.row[cell] + share) / grid.size),
  }));
};

/** Light a class up, and move to its strongest cell if that is off the screen. */
export const lightClass = (lit) => {
  sought = lit;
  set({ lit });
  showSought();
};

/** Move to the strongest cell of the class that was asked for last, as soon as its numbers are loaded. */
export const showSought = () => {
  const grid = gridShown();
  if (!sought || sought !== state.lit) return void (sought = "");
  const attribution = grid && attributionOf(grid);
  if (!attribution) return;
  sought = "";
  const [cell] = strongest(grid, attribution, 1);
  if (cell === undefined) return;
  const { left, top, scale, width, height } = cameraOf(),
    [x, y] = [(grid.col[cell] + 0.5) / grid.size, (grid.row[cell] + 0.5) / grid.size];
  const [px, py] = [left + x * scale, top + y * scale];
  if (px < 0 || py < 0 || px > width || py > height) flyTo({ x, y });
};

/**
 * The scale of the highlighted class: {title, ticks: [{at, words}], note}; at: opacity. Full opacity stands for the
 * grid's strongest cell, divided by the intensity, so the ticks say what that is in logits.
 */
export const litScale = (grid) => {
  const attribution = state.lit === "" ? null : attributionOf(grid);
  if (!attribution) return null;
  const amount = state.sign === "for" ? attribution.most : attribution.least,
    sign = state.sign === "for" ? 1 : -1;
  const title = `Speaks ${state.sign} ${grid.classes[attribution.column]}`;
  if (!amount) return { title, unit: "", ticks: [], note: `No cell speaks ${state.sign} it.` };
  const full = amount / state.strength;
  return {
    title,
    unit: "mean attribution, logits",
    ticks: [0, 0.5, 1].map((at) => ({ at, words: at ? signed(sign * at * full) : "0" })),
    // A logit of x multiplies the odds of a class by e to the x, if the other logits stay.
    note: `Strongest cell: ${signed(sign * amount)} logits, which ${sign > 0 ? "multiplies" : "divides"} the class's odds by ${factorWords(Math.exp(amount))}.`,
  };
};

/** A factor above 1 in words; just above it, with as many digits as tell it from 1. */
const factorWords = (factor) => {
  if (factor >= 1e6) return factor.toExponential(0);
  if (factor >= 10) return Math.round(factor).toLocaleString("en");
  return factor.toFixed(Math.min(6, Math.max(1, -Math.floor(Math.log10(factor - 1)))));
};
