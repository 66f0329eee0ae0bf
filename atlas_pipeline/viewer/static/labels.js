// Names on the map, where there is room for them: of regions that share a top class, and of large cells.

import { measureOf } from "./cells.js";
import { run } from "./data.js";
import { eachInSight, theme } from "./draw.js";
import { state } from "./state.js";

const APART = [150, 64]; // a region has a name at most once in a field of so many CSS pixels
const FILLED = 0.4; // of a field there must be cells of one class: at the map's edge two would speak for it
const MAJORITY = 0.5; // of a field's activations, where it is known, and of its cells have the class on top
const NAMED_PX = 96; // cells this large have a name each
const LONGEST = 22;
const FONT = '550 12.5px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
const LEVELS = 4; // to an octave of zoom: names are placed anew for each
const placed = new Map(); // the names of every level that was seen, by grid

const short = (label) =>
  [...label].length > LONGEST ? [...label].slice(0, LONGEST - 1).join("") + "…" : label;

/** Fields that lie fast on the map, as many as zoom asks for: names stay where they are while it is moved. */
function fields(grid, scale) {
  const across = Math.max(1, Math.round(scale / APART[0])),
    down = Math.max(1, Math.round(scale / APART[1]));
  const consistency = run.measures.find(({ name }) => name === "consistency");
  // With an empty column: beside the last field of a row is none, not the first of the next.
  const stride = across + 1,
    found = new Map();
  for (let cell = 0; cell < grid.cells; cell++) {
    const x = (grid.col[cell] + 0.5) / grid.size,
      y = (grid.row[cell] + 0.5) / grid.size;
    const field = Math.floor(y * down) * stride + Math.floor(x * across);
    if (!found.has(field)) found.set(field, new Map());
    const column = grid.top[cell * grid.numTop],
      of = found.get(field);
    if (!of.has(column)) of.set(column, [0, 0, 0, 0]);
    const sum = of.get(column);
    sum[0]++;
    sum[1] += x;
    sum[2] += y;
    sum[3] += (consistency && measureOf(grid, consistency, cell)) ?? 1;
  }
  return { found, stride, least: Math.max(2, (FILLED * grid.size ** 2) / (across * down)) };
}

/** The names of regions at a scale, those of most cells first: [{text, x, y, weight}]. */
export function regions(grid, scale) {
  const { found, stride, least } = fields(grid, scale);
  const names = new Map(),
    labels = [];
  for (const [field, of] of [...found].sort((a, b) => a[0] - b[0])) {
    const [column, [count, x, y, agree]] = [...of].sort((a, b) => b[1][0] - a[1][0] || a[0] - b[0])[0];
    const all = [...of.values()].reduce((sum, one) => sum + one[0], 0);
    // A field of many classes is no region of one; nor is one whose activations disagree within each cell.
    if (count < least || count < all * MAJORITY || agree < all * MAJORITY) continue;
    names.set(field, column);
    // What has its name beside or above it already needs no other.
    const around = [field - 1, field - stride, field - stride - 1, field - stride + 1];
    if (around.some((other) => names.get(other) === column)) continue;
    labels.push({ text: short(grid.classes[column]), x: x / count, y: y / count, weight: count });
  }
  return labels.sort((a, b) => b.weight - a.weight);
}

/** The names of a level of zoom, at its own scale. Every cell is gone through: too long for every frame. */
function regionsAt(grid, level) {
  const name = `${grid.folder}#${level}`;
  if (!placed.has(name)) placed.set(name, regions(grid, 2 ** (level / LEVELS)));
  if (placed.size > 100) placed.delete(placed.keys().next().value);
  return placed.get(name);
}

function ofCells(grid, camera) {
  const labels = [];
  eachInSight(grid, camera, (cell) => {
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

/** Draw the names; none is laid over another. */
export const drawLabels = (context, grid, camera) => {
  if (!grid.numTop) return;
  let labels;
  if (camera.scale / grid.size >= NAMED_PX) {
    labels = ofCells(grid, camera);
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
