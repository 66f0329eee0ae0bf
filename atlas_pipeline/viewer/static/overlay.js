// What lies over the icons: a veil that leaves one class to be seen, or a colour for a number. A pixel a cell,
// drawn as one picture: an opacity for every icon would take a second a frame.

import { fileStore, loadFile, run, unpackAll } from "./data.js";
import { paint, theme } from "./draw.js";
import { arrived } from "./legend.js";
import { MEASURES, rangeOf } from "./measures.js";
import { state } from "./state.js";

const VEIL = 0.95; // of what says nothing, so much is hidden: a trace of the map remains
const COLOUR = 0.82; // opacity of a colour over its icon
const GREY = [150, 150, 150]; // of what is not known, or is one of many

const parts = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

/** A share of 0 to 1 -> [red, green, blue] on the run's scale. */
export const scaleColour = (share) => {
  const stops = run.scale,
    at = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const low = Math.min(Math.floor(at), stops.length - 2),
    [a, b] = [parts(stops[low]), parts(stops[low + 1])];
  return a.map((value, channel) => value + (b[channel] - value) * (at - low));
};

const LEAST = 0.06; // not from white: a cell that is there is seen

/** Of a measure and its range: number -> share of the scale; the most where all are alike, the least of none. */
export const sharesOf = (name, [low, high]) => {
  const { log, percent } = MEASURES[name],
    on = log ? Math.log : (number) => number;
  if (low === high) return () => (percent && high === 0 ? LEAST : 1);
  return (number) => LEAST + ((1 - LEAST) * (on(number) - on(low))) / (on(high) - on(low));
};

/** The classes that are on top of most cells, with their colours, most first: [{column, label, count, colour}]. */
export const commonest = (grid) => {
  const counts = new Map();
  for (let cell = 0; cell < grid.cells * (grid.numTop ? 1 : 0); cell++) {
    const column = grid.top[cell * grid.numTop];
    counts.set(column, (counts.get(column) ?? 0) + 1);
  }
  const most = [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, run.palette.length);
  return most.map(([column, count], rank) => ({
    column,
    count,
    label: grid.classes[column],
    colour: run.palette[rank],
  }));
};

/** A picture of a pixel a cell; paint(cell, put) calls put(red, green, blue, alpha): no array for each of them. */
function canvasOf(grid, paint) {
  const canvas = new OffscreenCanvas(grid.size, grid.size),
    context = canvas.getContext("2d");
  const image = context.createImageData(grid.size, grid.size);
  const { data } = image;
  let at = 0;
  const put = (red, green, blue, alpha) => {
    data[at] = red;
    data[at + 1] = green;
    data[at + 2] = blue;
    data[at + 3] = alpha;
  };
  for (let cell = 0; cell < grid.cells; cell++) {
    at = 4 * (grid.row[cell] * grid.size + grid.col[cell]);
    paint(cell, put);
  }
  context.putImageData(image, 0, 0);
  return canvas.transferToImageBitmap();
}

function coloured(grid, name) {
  const alpha = Math.round(255 * COLOUR);
  if (name === "classes") {
    const colours = new Map(commonest(grid).map(({ column, colour }) => [column, parts(colour)]));
    return canvasOf(grid, (cell, put) => {
      if (grid.numTop) put(...(colours.get(grid.top[cell * grid.numTop]) ?? GREY), alpha);
    });
  }
  const { value, ready } = MEASURES[name];
  // Not there yet: asked again when it has come.
  if (ready && !ready(grid)) return null;
  const range = rangeOf(grid, name);
  if (!range) return null;
  const share = sharesOf(name, range);
  return canvasOf(grid, (cell, put) => {
    const number = value(grid, cell);
    put(...(number === null ? GREY : scaleColour(share(number))), alpha);
  });
}

const levels = fileStore(60);

async function loadLevels(grid, column) {
  const each = grid.classesAFile,
    number = Math.floor(column / each);
  const file = await unpackAll(await loadFile(`${grid.folder}/classes-${number}.js`));
  const at = column % each;
  return {
    // A copy: the other classes of the file are let go.
    levels: file.levels.slice(at * grid.cells, (at + 1) * grid.cells),
    most: file.most[at],
    least: file.least[at],
  };
}

/** The attribution to the chosen class on this grid, if there is one and it is loaded: {levels, most, least}. */
export const attributionOf = (grid) => {
  const column = state.lit === "" ? -1 : (grid.classIndices ?? []).indexOf(Number(state.lit));
  if (column < 0) return null;
  const loaded = levels.get(`${grid.folder}#${column}`, () => loadLevels(grid, column), arrived);
  return loaded && { column, ...loaded };
};

/** How strongly a cell speaks for (or against) the class: 0 to 1 of its strongest cell. */
export const opacityOf = (attribution, cell) => {
  const level = attribution.levels[cell] * (state.sign === "for" ? 1 : -1);
  return Math.min(1, (Math.max(0, level) / 127) * state.strength);
};

function veil(grid) {
  const attribution = attributionOf(grid);
  if (!attribution) return null;
  const [red, green, blue] = parts(theme().paper);
  return canvasOf(grid, (cell, put) =>
    put(red, green, blue, 255 * VEIL * (1 - opacityOf(attribution, cell))),
  );
}

const made = new Map();

function once(grid, kind, name, make) {
  const path = `${kind}#${grid.folder}`;
  const old = made.get(path);
  if (old?.name === name) return old.bitmap;
  const bitmap = make();
  old?.bitmap?.close();
  made.delete(path);
  if (bitmap) made.set(path, { name, bitmap });
  if (made.size > 8) made.delete(made.keys().next().value);
  return bitmap;
}

/** The veil of the chosen class over a grid, a pixel a cell; null without one. */
export const veilOver = (grid) => {
  const { lit, sign, strength } = state;
  if (lit === "") return null;
  return once(grid, "veil", `${lit}/${sign}/${strength}/${theme().paper}`, () => veil(grid));
};

/** The colours of the chosen measure over a grid, a pixel a cell; null without one. */
export const coloursOver = (grid) =>
  MEASURES[state.colour] ? once(grid, "colour", state.colour, () => coloured(grid, state.colour)) : null;
