// Filters: ranges of the cells' numbers, kept in the address as "name~low~high;...". Cells outside fade out.

import { MEASURES } from "./measures.js";
import { set, state } from "./state.js";

export const BINS = 24;
const SLACK = 1e-5;

/** The filters of a link: name -> [low, high]; what cannot be read is left out. */
export const filtersOf = (text) => {
  const found = new Map();
  for (const part of text.split(";")) {
    const [name, ...ends] = part.split("~"),
      [low, high] = ends.map(Number);
    const isNumber = ends.length === 2 && ends.every((end) => end !== "") && low <= high;
    if (Object.hasOwn(MEASURES, name) && MEASURES[name].value && isNumber) found.set(name, [low, high]);
  }
  return found;
};

const textOf = (filters) =>
  [...filters].map(([name, ends]) => [name, ...ends.map((end) => Number(end.toPrecision(6)))].join("~")).join(";");

/** Keep only cells whose number lies within a range; null lifts the filter. */
export const setFilter = (name, range) => {
  const filters = filtersOf(state.only);
  if (range) filters.set(name, range);
  else filters.delete(name);
  set({ only: textOf(filters) });
};

/** The measures that can filter a grid: those of every cell, and the share that colours the map. */
export const filterable = (grid) =>
  Object.keys(MEASURES).filter((name) => {
    const { value, isShare, ready } = MEASURES[name];
    if (!value || (isShare && name !== state.colour && !filtersOf(state.only).has(name))) return false;
    return ready?.(grid) !== false && limitsOf(grid, name)[0] <= limitsOf(grid, name)[1];
  });

/** A mask over a grid's cells, 1 for those within all filters but `without`; null without filters. */
export const maskOfFilters = (grid, text, without = "") => {
  const filters = [...filtersOf(text)].filter(([name]) => name !== without && MEASURES[name].ready?.(grid) !== false);
  if (!filters.length) return null;
  return Uint8Array.from({ length: grid.cells }, (_, cell) =>
    filters.every(([name, [low, high]]) => {
      const value = MEASURES[name].value(grid, cell),
        slack = SLACK * (Math.abs(low) + Math.abs(high)); // the ends of a link are rounded
      return value !== null && value >= low - slack && value <= high + slack;
    })
      ? 1
      : 0,
  );
};

/** The limits of a histogram: the least and the largest known value; the first is larger if none is known. */
export const limitsOf = (grid, name) => {
  let [low, high] = [Infinity, -Infinity];
  for (let cell = 0; cell < grid.cells; cell++) {
    const value = MEASURES[name].value(grid, cell);
    if (value === null) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return [low, high];
};

/** The value at a border between bins, 0 to BINS; counts go by their logarithm. */
export const borderOf = (name, [low, high], bin) => {
  if (bin <= 0) return low;
  if (bin >= BINS) return high;
  if (!MEASURES[name].log) return low + ((high - low) * bin) / BINS;
  return Math.exp(Math.log(low) + ((Math.log(high) - Math.log(low)) * bin) / BINS);
};

/** The number of cells in each bin: {all, kept}; kept: within the mask. */
export const histogram = (grid, name, limits, mask) => {
  const [low, high] = MEASURES[name].log ? limits.map(Math.log) : limits;
  const all = new Uint32Array(BINS),
    kept = new Uint32Array(BINS);
  for (let cell = 0; cell < grid.cells; cell++) {
    const value = MEASURES[name].value(grid, cell);
    if (value === null) continue;
    const share = ((MEASURES[name].log ? Math.log(value) : value) - low) / (high - low || 1);
    const bin = Math.min(BINS - 1, Math.max(0, Math.floor(share * BINS)));
    all[bin]++;
    if (!mask || mask[cell]) kept[bin]++;
  }
  return { all, kept };
};
