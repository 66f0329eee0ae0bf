// Two maps brushed together: what is pointed at or chosen in one lights the activations of the same images, and
// their cells, in the other. The chosen image is marked in both.

import { drawDots } from "./brush.js";
import { cellAt, chosenCell, numberWords } from "./cells.js";
import { fileStore, run } from "./data.js";
import { redraw, theme } from "./draw.js";
import { placesOf } from "./found.js";
import { outlineCell } from "./marks.js";
import { state, viewIn } from "./state.js";
import { mostKnown } from "./whole.js";

const RING_PX = 9;
let pointedCell = null; // {layer, grid, cell}

/** Take the cell that is pointed at on the map of a layer; at: {grid, cell}, or null for none on that map. */
export const pointAtCell = (layer, at) => {
  if (!at && pointedCell?.layer !== layer) return;
  if (at && pointedCell?.layer === layer && pointedCell.cell === at.cell && pointedCell.grid === at.grid)
    return;
  pointedCell = at && { layer, ...at };
  if (state.beside) redraw();
};

/** Forget what is pointed at, because a map shows another layer. */
export const forgetPointed = () => (pointedCell = null);

const stored = fileStore(24);

/** The places in a layer with `at`: activation's number -> its place in the list, or -1; null while they load. */
const placesNow = (layer) => {
  const view = viewIn(layer).name;
  return stored.get(
    `${layer}/${view}`,
    async () => {
      const places = await placesOf(layer, view),
        at = new Int32Array(mostKnown() * run.positions).fill(-1);
      places.number.forEach((number, n) => (at[number] = n));
      return { ...places, at };
    },
    redraw,
  );
};

/** The numbers of the activations in a cell. */
export const numbersIn = ({ number, x, y }, grid, cell) =>
  [...number].filter((_, n) => cellAt(grid, x[n], y[n]) === cell);

let lastLinked = { name: "", numbers: [] };

/** What one map lights on the map of a layer: {numbers, source: its layer}; null: nothing, or not loaded. */
const litFrom = (layer) => {
  if (!state.beside) return null;
  const other = layer === state.beside ? state.layer : state.beside,
    chosen = layer === state.beside ? chosenCell() : null;
  const from = pointedCell?.layer === other ? pointedCell : pointedCell ? null : chosen;
  const places = from && placesNow(other);
  if (!places) return null;
  const name = `${from.grid.folder}#${from.cell}`;
  if (lastLinked.name !== name) lastLinked = { name, numbers: numbersIn(places, from.grid, from.cell) };
  return { numbers: lastLinked.numbers, source: other };
};

/** The places on the map of a layer that the other map lights: {x, y, cells of the grid, source}; null: none. */
export const linkedIn = (layer, grid) => {
  const lit = litFrom(layer),
    places = lit && placesNow(layer);
  if (!places) return null;
  const here = lit.numbers.map((number) => places.at[number]).filter((n) => n >= 0),
    [x, y] = [places.x, places.y].map((all) => here.map((n) => all[n]));
  const cells = new Set(grid ? x.map((_, n) => cellAt(grid, x[n], y[n])).filter((cell) => cell >= 0) : []);
  return { x, y, cells: [...cells], source: lit.source };
};

/** The linked activations of a map in words; "" without any. */
export const linkedWords = ({ x, cells, source }, layer) => {
  const what = run.positions > 1 ? "activation" : "image";
  return `${numberWords(x.length)} ${what}${x.length === 1 ? "" : "s"} of a cell of ${source}, in ${numberWords(cells.length)} cell${cells.length === 1 ? "" : "s"} of ${layer}`;
};

let ringed = { image: "", layers: new Map() };

/** The places {x, y} of the chosen image's activations in a layer; null: none, or not loaded. */
export const imagePlaces = (layer) => {
  const found = ringed.image === state.image ? ringed.layers.get(layer) : null;
  return found?.length ? { x: found.map(({ x }) => x), y: found.map(({ y }) => y) } : null;
};

/** Take the places of the chosen image's activations. layers: name -> [{x, y}]. */
export const keepImagePlaces = (image, layers) => {
  ringed = { image: String(image), layers };
  redraw();
};

function ring(target, px, py) {
  const { accent, paper } = theme();
  for (const [colour, width] of [
    [paper, 5],
    [accent, 2.5],
  ]) {
    Object.assign(target, { strokeStyle: colour, lineWidth: width });
    target.beginPath();
    target.arc(px, py, RING_PX, 0, 7);
    target.stroke();
  }
}

/** Draw what the other map lights on the map of a layer, and the chosen image's activations with their cells. */
export const drawLinked = (target, camera, layer, grid) => {
  const { ink, accent } = theme(),
    linked = linkedIn(layer, grid),
    image = imagePlaces(layer);
  for (const cell of linked?.cells ?? []) outlineCell(target, grid, cell, camera, ink, 1);
  if (linked) drawDots(target, camera, linked, ink, linked.x.length < 60 ? 4 : 2.5);
  if (!image) return;
  image.x.forEach((x, n) => {
    const cell = grid ? cellAt(grid, x, image.y[n]) : -1;
    if (cell >= 0) outlineCell(target, grid, cell, camera, accent, 2);
    ring(target, camera.left + x * camera.scale, camera.top + image.y[n] * camera.scale);
  });
};
