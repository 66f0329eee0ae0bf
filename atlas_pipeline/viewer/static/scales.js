// The scales of what the map shows, as values: its colours, and the opacity of a highlighted class. The legends on
// the page and in saved pictures are made from them.

import { gridShown, numberWords } from "./cells.js";
import { theme } from "./draw.js";
import { litScale } from "./lit.js";
import { measured, MEASURES, rangeOf } from "./measures.js";
import { attributionOf, channels, commonest, DIMMING, scaleColour, sharesOf } from "./overlay.js";
import { state } from "./state.js";

const RAMP_STEPS = 128;

const rgb = (colour) => `rgb(${colour.map(Math.round)})`;

function classRows(grid, title) {
  const rows = commonest(grid).map(({ label, count, colour }) => ({
    colour,
    words: label,
    beside: numberWords(count),
  }));
  const others = new Set(grid.top.filter((_, at) => at % grid.numTop === 0)).size - rows.length;
  return {
    title,
    unit: "cells",
    rows,
    note: others > 0 ? `grey: ${numberWords(others)} other classes` : "",
  };
}

/** The ticks of a range: its ends and its middle; a single one if all cells are equal. */
function ticksOf(name, [low, high]) {
  const values = MEASURES[name].log
    ? [low, Math.sqrt(Math.max(low, 1e-9) * high), high]
    : [low, (low + high) / 2, high];
  const words = values.map((value) => measured(name, value));
  return [...new Set(words)].map((one, at, all) => ({
    at: all.length > 1 ? at / (all.length - 1) : 1,
    words: one,
  }));
}

function colourScale(grid) {
  const name = state.colour,
    { words: title, unit = "" } = MEASURES[name];
  const range = name === "classes" ? null : rangeOf(grid, name);
  if (name === "classes" && grid.numTop) return classRows(grid, title);
  if (!range) return { title, unit: "", note: "Not known in this atlas" };
  const [from, to] = range.map(sharesOf(name, range));
  const ramp = Array.from({ length: RAMP_STEPS }, (_, x) =>
    rgb(scaleColour(from + ((to - from) * x) / (RAMP_STEPS - 1))),
  );
  return { title, unit, ramp, ticks: ticksOf(name, range) };
}

/** The ramp of opacities over ink, which shows how far icons are faded. */
function fades() {
  const [paper, ink] = [theme().paper, theme().ink].map(channels);
  return Array.from({ length: RAMP_STEPS }, (_, x) => {
    const faded = DIMMING * (1 - x / (RAMP_STEPS - 1));
    return rgb(ink.map((value, channel) => value + (paper[channel] - value) * faded));
  });
}

let lastScales = { name: "", scales: [] };

/** The scales of the map as shown: [{title, unit, ramp?, ticks?, rows?, note?}]; the same list while none changes. */
export const legends = () => {
  const grid = gridShown(),
    { colour, lit, sign, strength } = state;
  const isReady = grid && MEASURES[colour]?.ready?.(grid) !== false,
    hasLit = grid && lit !== "" && attributionOf(grid) !== null;
  const name = [grid?.folder, colour, isReady, lit, hasLit, sign, strength, theme().paper].join("#");
  if (lastScales.name === name) return lastScales.scales;
  const scales = [];
  if (grid && MEASURES[colour] && isReady) scales.push(colourScale(grid));
  const ofClass = grid && litScale(grid);
  if (ofClass) scales.push({ ...ofClass, ...(ofClass.ticks.length ? { ramp: fades() } : {}) });
  lastScales = { name, scales };
  return scales;
};
