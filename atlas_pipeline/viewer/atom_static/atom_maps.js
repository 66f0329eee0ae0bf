// Small maps of the atlas: how strong an atom is in each cell, and what no atom explains.

import { fileOf } from "./address.js";
import { cachedFile, run, unpackAll } from "./data.js";
import { element } from "./page.js";

/** The cells of a layer: {grid, row, col, levels (atom by atom), left, worst, icons}. */
export const cellsOfLayer = (layer) => cachedFile(fileOf(layer, "cells.js"), unpackAll);

/** The levels (0 to 255) of the cells for an atom; at: its place in the layer's list. */
export const levelsOf = (cells, at) => cells.levels.subarray(at * cells.row.length, (at + 1) * cells.row.length);

/** A map: a square for each cell, the more opaque the higher its level; without words it is hidden from readers. */
export const smallMap = (cells, levels, words) => {
  const canvas = element("canvas", { className: "map", width: cells.grid, height: cells.grid }),
    context = canvas.getContext("2d"),
    style = getComputedStyle(document.documentElement);
  if (words) {
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", words);
  } else canvas.setAttribute("aria-hidden", "true");
  for (const [colour, opacity] of [
    [style.getPropertyValue("--line"), () => 0.55],
    [style.getPropertyValue("--accent"), (level) => level / 255],
  ]) {
    context.fillStyle = colour;
    levels.forEach((level, cell) => {
      context.globalAlpha = opacity(level);
      context.fillRect(cells.col[cell], cells.row[cell], 1, 1);
    });
  }
  return canvas;
};

/** The address of a cell in the atlas. */
export const cellAddress = (layer, grid, row, col) =>
  `../index.html#${new URLSearchParams({ layer, cell: `${grid}.${row}.${col}` })}`;

/** The address of the atlas with cells lit up: those with at least half the atom's largest mean strength. */
export const litAddress = (layer, cells, levels) => {
  const lit = [...levels.keys()]
    .filter((cell) => levels[cell] >= 128)
    .map((cell) => `${cells.row[cell]}.${cells.col[cell]}`);
  const found = ["cells", encodeURIComponent(layer), "all", cells.grid, lit.join("-")].join(":");
  return `../index.html#${new URLSearchParams({ layer, found })}`;
};

/** Whether the run has an atlas that links can open. */
export const hasAtlas = () => Boolean(run.atlas);
