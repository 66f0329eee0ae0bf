// Class names on the map where there is room for them: for regions with one top class, and for large cells.

import { measureOf } from "./cells.js";
import { run } from "./data.js";
import { eachVisible, theme } from "./draw.js";
import { state } from "./state.js";

const APART = [150, 64]; // width and height of a field in CSS pixels; a field has at most one name
const FILLED = 0.4; // share of a field that cells of the class must fill; two cells at an edge do not suffice
const MAJORITY = 0.5; // share of a field's cells, and of their activations if known, that must have the class
const NAMED_PX = 96; // size of cells on the screen from which each has a name
const LONGEST = 22;
const FONT = '550 12.5px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
const LEVELS = 4; // zoom levels per factor of two; names are placed once for each level
const placed = new Map(); // names by grid and zoom level

const short = (label) =>
  [...label].length > LONGEST ? [...label].slice(0, LONGEST - 1).join("") + "…" : label;

/**
 * The fields of a grid at a scale, fixed to the map so that names keep their places while it is moved. Returns
 * {found: field -> class column -> [cells, sum of x, sum of y, sum of agreement], stride, least: needed cells}.
 */
function fields(grid, scale) {
  const across = Math.max(1, Math.round(scale / APART[0])),
    down = Math.max(1, Math.round(scale / APART[1]));
  const consistency = run.measures.find(({ name }) => name === "consistency");
  // Each row ends with an empty column, so that its last field is not a neighbour of the next row's first.
  const stride = across + 1,
    found = new Map();
  for (let cell = 0; cell < grid.cells; cell++) {
    const x = (grid.col[cell] + 0.5) / grid.size,
      y = (grid.row[cell] + 0.5) / grid.size;
    const field = Math.floor(y * down) * stride + Math.floor(x * across);
    if (!found.has(field)) found.set(field, new Map());
    const column = grid.top[cell * grid.numTop],
      sums = found.get(field);
    if (!sums.has(column)) sums.set(column, [0, 0, 0, 0]);
    const sum = sums.get(column);
    sum[0]++;
    sum[1] += x;
    sum[2] += y;
    sum[3] += (consistency && measureOf(grid, consistency, cell)) ?? 1;
  }
  return { found, stride, least: Math.max(2, (FILLED * grid.size ** 2) / (across * down)) };
}

/** The names of regions at a scale, in descending order of cells: [{text, x, y, weight}]. */
export function regions(grid, scale) {
  const { found, stride, least } = fields(grid, scale);
  const names = new Map(),
    labels = [];
  for (const [field, sums] of [...found].sort((a, b) => a[0] - b[0])) {
    const [column, [count, x, y, agree]] = [...sums].sort((a, b) => b[1][0] - a[1][0] || a[0] - b[0])[0];
    const all = [...sums.values()].reduce((sum, one) => sum + one[0], 0);
    // Skip fields without a majority class among the cells, or whose activations disagree within each cell.
    if (count < least || count < all * MAJORITY || agree < all * MAJORITY) continue;
    names.set(field, column);
    // Skip a field if a neighbour to the left or above already has the same name.
    const around = [field - 1, field - stride, field - stride - 1, field - stride + 1];
    if (around.some((other) => names.get(other) === column)) continue;
    labels.push({ text: short(grid.classes[column]), x: x / count, y: y / count, weight: count });
  }
  return labels.sort((a, b) => b.weight - a.weight);
}

/** The names of regions at a zoom level, cached because computing them visits every cell of the grid. */
function regionsAt(grid, level) {
  const name = `${grid.folder}#${level}`;
  if (!placed.has(name)) placed.set(name, regions(grid, 2 ** (level / LEVELS)));
  if (placed.size > 100) placed.delete(placed.keys().next().value);
  return placed.get(name);
}

function cellNames(grid, camera) {
  const labels = [];
  eachVisible(grid, camera, (cell) => {
    const text = short(grid.classes[grid.top[cell * grid.numTop]]);
    labels.push({
      text,
      x: (grid.col[cell] + 0.5) / grid.size,
      y: (grid.row[cell] + 1) / grid.size,
      up: 12,
      weight: 1,
    });
  });
  return labels;
}

/** Draw the names, leaving out those that would overlap an earlier one. */
export const drawLabels = (context, grid, camera) => {
  if (!grid.numTop) return;
  let labels;
  if (camera.scale / grid.size >= NAMED_PX) {
    labels = cellNames(grid, camera);
  } else {
    labels = regionsAt(grid, Math.round(Math.log2(camera.scale) * LEVELS));
  }
  const { ink, muted, paper } = theme(),
    taken = [];
  Object.assign(context, {
    font: FONT,
    textAlign: "center",
    textBaseline: "middle",
    lineJoin: "round",
    lineWidth: 3.5,
  });
  for (const { text, x, y, up = 0 } of labels) {
    const left = camera.left + x * camera.scale,
      top = camera.top + y * camera.scale - up;
    if (left < 0 || top < 0 || left > camera.width || top > camera.height) continue;
    const half = context.measureText(text).width / 2 + 5;
    if (taken.some(([l, t, h]) => Math.abs(l - left) < h + half && Math.abs(t - top) < 19)) continue;
    taken.push([left, top, half]);
    context.strokeStyle = paper;
    context.strokeText(text, left, top);
    context.fillStyle = state.lit ? muted : ink;
    context.fillText(text, left, top);
  }
};
