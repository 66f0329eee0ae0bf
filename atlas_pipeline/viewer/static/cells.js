// What is known of the cells of a grid, and which grid is shown.

import { cameraOf, flyTo } from "./camera.js";
import { fileStore, loadFile, unpackAll } from "./data.js";
import { arrived } from "./legend.js";
import { byId } from "./page.js";
import { SHEET } from "./sheets.js";
import { set, state, viewShown } from "./state.js";

const CELL_PX = 30; // a grid is taken from when its cells are this large on the screen
const MISSING = -32768;
const grids = fileStore();

const key = (size) => `${state.layer}/${state.view}/tiles-${size}`;

/** The size of the grid that the state shows; 0 where the view has no icons. */
export const gridSize = () => {
  const sizes = viewShown().grids.map((grid) => grid.size);
  if (!sizes.length) return 0;
  const { scale } = cameraOf();
  const byZoom = sizes.filter((size) => scale / size >= CELL_PX).at(-1) ?? sizes[0];
  return state.grid || byZoom;
};

async function read(folder, size, crop) {
  const grid = await unpackAll(await loadFile(`${folder}/grid.js`));
  Object.assign(grid, { size, folder, cropPx: crop, at: new Int32Array(size * size).fill(-1) });
  // Which sheets there are: those without a cell are not made, and must not be asked for.
  grid.sheets = new Set();
  for (let cell = 0; cell < grid.cells; cell++) {
    const row = grid.row[cell],
      col = grid.col[cell];
    grid.at[row * size + col] = cell;
    grid.sheets.add(`${Math.floor(row / SHEET)}-${Math.floor(col / SHEET)}`);
  }
  return grid;
}

/** The grid of a size if it is loaded; if not it is sent for, and the map is drawn again when it comes. */
export const gridOf = (size) => {
  const folder = key(size),
    { cropPx } = viewShown().grids.find((grid) => grid.size === size);
  return grids.get(folder, () => read(folder, size, cropPx), arrived);
};

/** The grid that is shown: the one wanted, or while it is on its way any other that is there. */
export const gridShown = () => {
  const wanted = gridSize();
  if (!wanted) return null;
  const others = viewShown().grids.map((grid) => grids.peek(key(grid.size)));
  return gridOf(wanted) ?? others.find(Boolean) ?? null;
};

/** The number that a level stands for; null where it is not known. */
export const levelled = (level, step) => (level === undefined || level === MISSING ? null : level * step);

/** A measure of a cell, one that the run lists; null where it is not known. */
export const measureOf = (grid, { column, step }, cell) =>
  levelled(grid[column]?.[cell], step ?? grid[column + "Step"]);

/** The classes of largest mean attribution of a cell: {index, column, label, value}, largest first. */
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

/** The cell at a point of the unit square, -1 where there is none. */
export const cellAt = (grid, x, y) => {
  const col = Math.floor(x * grid.size),
    row = Math.floor(y * grid.size);
  return col < 0 || row < 0 || col >= grid.size || row >= grid.size ? -1 : grid.at[row * grid.size + col];
};

/** The cell that the state has chosen, with its grid; null where that grid is not loaded yet or lacks it. */
export const chosenCell = () => {
  const [size, row, col] = state.cell.split(".").map(Number);
  if (!size || !viewShown().grids.some((grid) => grid.size === size)) return null;
  const grid = gridOf(size);
  const cell = grid && row < size && col < size ? grid.at[row * size + col] : -1;
  return cell >= 0 ? { grid, cell } : null;
};

export const nameOfCell = (grid, cell) => `${grid.size}.${grid.row[cell]}.${grid.col[cell]}`;

/** Choose a cell, and bring it into sight where it is out of it, or where its panel now lies over it. */
export const chooseCell = (grid, cell) => {
  set({ cell: nameOfCell(grid, cell) });
  const x = (grid.col[cell] + 0.5) / grid.size,
    y = (grid.row[cell] + 0.5) / grid.size,
    { left, top, scale, width, height } = cameraOf(),
    map = byId("map").getBoundingClientRect(),
    panel = byId("detail").getBoundingClientRect();
  // On a phone the panel comes from below, else from the right.
  const right = panel.left > map.left ? Math.min(width, panel.left - map.left) : width,
    bottom = panel.top > map.top ? Math.min(height, panel.top - map.top) : height;
  const px = left + x * scale,
    py = top + y * scale;
  if (px > 0 && py > 0 && px < right && py < bottom) return;
  flyTo({ x: x + (width - right) / 2 / scale, y: y + (height - bottom) / 2 / scale });
};

/** A cell in a sentence, for screen readers. */
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

/** A number with two decimals and a minus that is as wide as a plus; what rounds to nothing has none. */
export const decimals = (value) =>
  value
    .toFixed(2)
    .replace(/^-(?!0\.00$)/, "−")
    .replace(/^-/, "");
