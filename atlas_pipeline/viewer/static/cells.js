// The data of a grid's cells, and the choice of the grid that is shown.

import { cameraOf, flyTo, uncovered } from "./camera.js";
import { fileStore, loadFile, run, unpackAll } from "./data.js";
import { arrived } from "./legend.js";
import { shortLabel } from "./names.js";
import { SHEET } from "./sheets.js";
import { set, state, viewShown } from "./state.js";

const CELL_PX = 30; // smallest size of cells on the screen at which a grid is chosen
const MISSING = -32768; // the level that stands for an unknown number
const grids = fileStore();

const key = (size) => `${state.layer}/${state.view}/tiles-${size}`;

/** The size of the grid that the state asks for, by choice or by zoom; 0 if the view has no icons. */
export const gridSize = () => {
  const { grids } = viewShown();
  return grids.length ? state.grid || gridFor(grids, cameraOf().scale).size : 0;
};

async function read(folder, size, crop) {
  const grid = await unpackAll(await loadFile(`${folder}/grid.js`));
  Object.assign(grid, { size, folder, cropPx: crop, at: new Int32Array(size * size).fill(-1) });
  // The names of existing sheets. Sheets without a cell are never made, so they must not be requested.
  grid.sheets = new Set();
  const extent = { left: 1, top: 1, right: 0, bottom: 0 };
  for (let cell = 0; cell < grid.cells; cell++) {
    const row = grid.row[cell],
      col = grid.col[cell];
    grid.at[row * size + col] = cell;
    grid.sheets.add(`${Math.floor(row / SHEET)}-${Math.floor(col / SHEET)}`);
    extent.left = Math.min(extent.left, col / size);
    extent.top = Math.min(extent.top, row / size);
    extent.right = Math.max(extent.right, (col + 1) / size);
    extent.bottom = Math.max(extent.bottom, (row + 1) / size);
  }
  grid.extent = grid.cells ? extent : null;
  return grid;
}

/** A grid of any view, or null while it loads; the map is redrawn when it arrives. */
export const gridIn = (layer, view, { size, cropPx }) => {
  const folder = `${layer}/${view}/tiles-${size}`;
  return grids.get(folder, () => read(folder, size, cropPx), arrived);
};

/** The grid of a size of the shown view, or null while it loads. */
export const gridOf = (size) =>
  gridIn(
    state.layer,
    state.view,
    viewShown().grids.find((grid) => grid.size === size),
  );

/** The grid of a list that has cells large enough on the screen. scale: side of the map in CSS pixels. */
export const gridFor = (grids, scale) =>
  grids.filter(({ size }) => scale / size >= CELL_PX).at(-1) ?? grids[0];

/** The grid to show: the wanted one, or any loaded one while the wanted one loads; null if there is none. */
export const gridShown = () => {
  const wanted = gridSize();
  if (!wanted) return null;
  const others = viewShown().grids.map((grid) => grids.peek(key(grid.size)));
  return gridOf(wanted) ?? others.find(Boolean) ?? null;
};

/** The number that a level stands for; null if it is not known. */
export const levelled = (level, step) => (level === undefined || level === MISSING ? null : level * step);

/** A measure of a cell, as listed in run.measures; null if it is not known. */
export const measureOf = (grid, { column, step }, cell) =>
  levelled(grid[column]?.[cell], step ?? grid[column + "Step"]);

/** The classes with the largest mean attribution of a cell, in that order: [{index, column, label, value}]. */
export const topClasses = (grid, cell) => {
  const top = [];
  for (let rank = 0; rank < (grid.numTop ?? 0); rank++) {
    const level = grid.topValue[cell * grid.numTop + rank];
    const column = grid.top[cell * grid.numTop + rank];
    if (level === MISSING) continue;
    top.push({
      column,
      index: grid.classIndices[column],
      label: grid.classes[column],
      value: level * grid.topStep,
    });
  }
  return top;
};

/** The share of a cell's activations that agree on a class; 1 where the run does not know it. */
export const agreementOf = (grid, cell) => {
  const measure = run.measures.find(({ name }) => name === "consistency");
  return (measure && measureOf(grid, measure, cell)) ?? 1;
};

/** The cell at a point of the unit square; -1 if there is none. */
export const cellAt = (grid, x, y) => {
  const col = Math.floor(x * grid.size),
    row = Math.floor(y * grid.size);
  return col < 0 || row < 0 || col >= grid.size || row >= grid.size ? -1 : grid.at[row * grid.size + col];
};

/** The chosen cell: {grid, cell}; null if no cell is chosen, or the grid is loading or lacks the cell. */
export const chosenCell = () => {
  const [size, row, col] = state.cell.split(".").map(Number);
  if (!size || !viewShown().grids.some((grid) => grid.size === size)) return null;
  const grid = gridOf(size);
  const cell = grid && row < size && col < size ? grid.at[row * size + col] : -1;
  return cell >= 0 ? { grid, cell } : null;
};

export const nameOfCell = (grid, cell) => `${grid.size}.${grid.row[cell]}.${grid.col[cell]}`;

/** Choose a cell. Move the map if the cell is off the screen or covered by the panel that opens. */
export const chooseCell = (grid, cell) => {
  set({ cell: nameOfCell(grid, cell), image: "" });
  const x = (grid.col[cell] + 0.5) / grid.size,
    y = (grid.row[cell] + 0.5) / grid.size,
    { left, top, scale, width, height } = cameraOf(),
    [right, bottom] = uncovered();
  const px = left + x * scale,
    py = top + y * scale;
  if (px > 0 && py > 0 && px < right && py < bottom) return;
  flyTo({ x: x + (width - right) / 2 / scale, y: y + (height - bottom) / 2 / scale });
};

/** A description of a cell for screen readers. */
export const wordsFor = (grid, cell) => {
  const top = topClasses(grid, cell)[0];
  const said = [
    `Row ${grid.row[cell] + 1}, column ${grid.col[cell] + 1}`,
    `${numberWords(grid.count[cell])} activations`,
  ];
  if (top) said.push(`strongest class ${top.label}`);
  return said.join(", ");
};

export const numberWords = (value) => value.toLocaleString("en");

/** The cell's class of highest mean attribution, without synonyms; "" without attributions. */
export const shortLabelOf = (grid, cell) => {
  const top = topClasses(grid, cell)[0];
  return top ? shortLabel(top.label) : "";
};

/** A number with two decimals and its sign. */
export const signed = (value) => (value > 0 ? `+${decimals(value)}` : decimals(value));

/** A number with two decimals and a typographic minus sign; numbers that round to zero have no sign. */
export const decimals = (value) =>
  value
    .toFixed(2)
    .replace(/^-(?!0\.00$)/, "−")
    .replace(/^-/, "");
