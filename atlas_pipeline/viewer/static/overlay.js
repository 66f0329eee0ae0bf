// Overlays over the icons: dimming of all cells but those of one class, and colours for a measure. An overlay
// is one picture with a pixel per cell, because an opacity for every icon would take a second per frame.

import { fileStore, loadFile, run, unpackAll } from "./data.js";
import { paint, theme } from "./draw.js";
import { filtersOf, maskOfFilters } from "./filter.js";
import { arrived } from "./legend.js";
import { MEASURES, rangeOf } from "./measures.js";
import { state } from "./state.js";

export const DIMMING = 0.8; // opacity over cells without attribution to the class; the map stays readable below
const FILTERED = 0.88; // opacity over cells outside the filters
const COLOUR = 0.82; // opacity of a colour over its icon
const GREY = [150, 150, 150]; // colour of unknown numbers, and of classes without a colour of their own

/** "#rrggbb" -> [red, green, blue]. */
export const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

/** A share from 0 to 1 -> [red, green, blue] on the run's colour scale. */
export const scaleColour = (share) => {
  const stops = run.scale,
    at = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const low = Math.min(Math.floor(at), stops.length - 2),
    [a, b] = [channels(stops[low]), channels(stops[low + 1])];
  return a.map((value, channel) => value + (b[channel] - value) * (at - low));
};

const LEAST = 0.06; // the scale does not start at white, so that every cell is visible

/**
 * A function from a measure's numbers to shares of the colour scale. If the range is a single number, its
 * share is 1, or LEAST for a percentage of 0.
 */
export const sharesOf = (name, [low, high]) => {
  const { log, percent } = MEASURES[name],
    on = log ? Math.log : (number) => number;
  if (low === high) return () => (percent && high === 0 ? LEAST : 1);
  return (number) => LEAST + ((1 - LEAST) * (on(number) - on(low))) / (on(high) - on(low));
};

/** The most frequent top classes of a grid's cells, with their colours: [{column, label, count, colour}]. */
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

/** A picture with one pixel per cell. paint(cell, put) calls put(red, green, blue, alpha), without arrays. */
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
    const colours = new Map(commonest(grid).map(({ column, colour }) => [column, channels(colour)]));
    return canvasOf(grid, (cell, put) => {
      if (grid.numTop) put(...(colours.get(grid.top[cell * grid.numTop]) ?? GREY), alpha);
    });
  }
  const { value, ready } = MEASURES[name];
  // While the numbers load there are no colours; arrived draws the map again.
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
    // slice copies, so the levels of the file's other classes are freed.
    levels: file.levels.slice(at * grid.cells, (at + 1) * grid.cells),
    most: file.most[at],
    least: file.least[at],
  };
}

/** The attribution to the highlighted class: {column, levels, most, least}; null: no class, or not loaded. */
export const attributionOf = (grid) => {
  const column = state.lit === "" ? -1 : (grid.classIndices ?? []).indexOf(Number(state.lit));
  if (column < 0) return null;
  const loaded = levels.get(`${grid.folder}#${column}`, () => loadLevels(grid, column), arrived);
  return loaded && { column, ...loaded };
};

/** The opacity of a cell, 0 to 1: its attribution for or against the class relative to the strongest cell. */
export const opacityOf = (attribution, cell) => {
  const level = attribution.levels[cell] * (state.sign === "for" ? 1 : -1);
  return Math.min(1, (Math.max(0, level) / 127) * state.strength);
};

function dimmed(grid) {
  const attribution = attributionOf(grid);
  if (!attribution) return null;
  const [red, green, blue] = channels(theme().paper);
  return canvasOf(grid, (cell, put) =>
    put(red, green, blue, 255 * DIMMING * (1 - opacityOf(attribution, cell))),
  );
}

const overlays = new Map();

/** The overlay of a kind over a grid, made again only if its name changed. */
function cachedOverlay(grid, kind, name, make) {
  const path = `${kind}#${grid.folder}`;
  const old = overlays.get(path);
  if (old?.name === name) return old.bitmap;
  const bitmap = make();
  old?.bitmap?.close();
  overlays.delete(path);
  if (bitmap) overlays.set(path, { name, bitmap });
  if (overlays.size > 8) overlays.delete(overlays.keys().next().value);
  return bitmap;
}

/** The overlay that dims the cells by their attribution to the highlighted class; null without a class. */
export const dimmingOver = (grid) => {
  const { lit, sign, strength } = state;
  if (lit === "") return null;
  const name = `${lit}/${sign}/${strength}/${theme().paper}`;
  return cachedOverlay(grid, "dimming", name, () => dimmed(grid));
};

/** The overlay that fades the cells outside the filters; null without filters. */
export const filterOver = (grid) => {
  const names = [...filtersOf(state.only).keys()];
  // While the numbers of a filter load, the map is shown without filters.
  if (!names.length || names.some((name) => MEASURES[name].ready?.(grid) === false)) return null;
  return cachedOverlay(grid, "filter", `${state.only}/${theme().paper}`, () => {
    const mask = maskOfFilters(grid, state.only),
      [red, green, blue] = channels(theme().paper);
    return canvasOf(grid, (cell, put) => put(red, green, blue, mask[cell] ? 0 : 255 * FILTERED));
  });
};

/** The overlay with the colours of the chosen measure; null without a measure. */
export const coloursOver = (grid) =>
  MEASURES[state.colour]
    ? cachedOverlay(grid, "colour", state.colour, () => coloured(grid, state.colour))
    : null;
