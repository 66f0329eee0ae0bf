// The histograms of the cells' numbers, each with two sliders that filter the map. They are linked: each shows, in
// colour, the cells that the other filters leave.

import { gridShown, numberWords } from "./cells.js";
import { theme } from "./draw.js";
import { BINS, borderOf, filterable, filtersOf, histogram, limitsOf, maskOfFilters, setFilter } from "./filter.js";
import { measured, MEASURES } from "./measures.js";
import { byId, element } from "./page.js";
import { onChange, set, state } from "./state.js";

const HEIGHT_PX = 34;
const BAR_PX = 8;

let lastShown = "";

/** The bins that a filter keeps: [first, after the last]. */
const binsOf = (name, limits, range) => {
  if (!range) return [0, BINS];
  const borders = Array.from({ length: BINS + 1 }, (_, bin) => borderOf(name, limits, bin));
  const nearest = (value) =>
    borders.reduce((best, border, bin) => (Math.abs(border - value) < Math.abs(borders[best] - value) ? bin : best), 0);
  return range.map(nearest);
};

function drawBars(canvas, { all, kept }, [first, last]) {
  const context = canvas.getContext("2d"),
    most = Math.max(1, ...all),
    { line, muted, accent } = theme();
  Object.assign(canvas, { width: BINS * BAR_PX, height: HEIGHT_PX });
  for (let bin = 0; bin < BINS; bin++) {
    for (const [counts, colour] of [
      [all, line],
      [kept, bin >= first && bin < last ? accent : muted],
    ]) {
      const height = counts[bin] ? Math.max(1.5, (HEIGHT_PX * counts[bin]) / most) : 0;
      context.fillStyle = colour;
      context.fillRect(bin * BAR_PX, HEIGHT_PX - height, BAR_PX - 1, height);
    }
  }
}

function made(name) {
  const { words } = MEASURES[name],
    slider = (end) =>
      element("input", { type: "range", min: 0, max: BINS, step: 1, "aria-label": `${words}: ${end}` });
  const [low, high] = ["least", "most"].map(slider),
    range = element("span", { className: "filter-range" });
  const box = element(
    "div",
    { className: "filter" },
    element("p", {}, element("bdi", { textContent: words }), range),
    element("canvas", { "aria-hidden": "true" }),
    element("div", { className: "ends-of" }, low, high),
  );
  box.dataset.name = name;
  const change = () => {
    const grid = gridShown();
    if (!grid) return;
    const limits = limitsOf(grid, name),
      [from, to] = [Number(low.value), Number(high.value)].sort((a, b) => a - b);
    const isAll = from === 0 && to === BINS;
    setFilter(name, isAll ? null : [borderOf(name, limits, from), borderOf(name, limits, to)]);
  };
  low.oninput = high.oninput = change;
  return box;
}

/** Show the histograms of the shown grid; the sliders stay, so that they keep the focus. */
export const showHistograms = () => {
  const grid = gridShown(),
    place = byId("filters"),
    filters = filtersOf(state.only);
  const isReady = grid && [...filters.keys(), state.colour].map((name) => MEASURES[name]?.ready?.(grid) !== false);
  // Counting visits every cell, so it waits for a change that matters here.
  const name = [grid?.folder, state.only, state.colour, isReady, byId("filters-box").open, theme().paper].join("#");
  if (name === lastShown) return;
  lastShown = name;
  byId("filters-section").hidden = !grid;
  byId("filters-clear").hidden = !filters.size;
  if (!grid) return;
  const mask = maskOfFilters(grid, state.only),
    kept = mask ? mask.reduce((sum, one) => sum + one, 0) : grid.cells;
  byId("filters-words").textContent = filters.size
    ? `${numberWords(kept)} of ${numberWords(grid.cells)} cells`
    : "";
  if (!byId("filters-box").open) return;
  const names = filterable(grid);
  if (names.join() !== [...place.children].map((box) => box.dataset.name).join())
    place.replaceChildren(...names.map(made));
  for (const box of place.children) {
    const { name } = box.dataset,
      limits = limitsOf(grid, name),
      bins = binsOf(name, limits, filters.get(name));
    const [low, high] = box.querySelectorAll("input");
    [low.value, high.value] = bins;
    const words = bins.map((bin) => measured(name, borderOf(name, limits, bin)));
    [low, high].forEach((input, end) => input.setAttribute("aria-valuetext", words[end]));
    box.querySelector(".filter-range").textContent = words.join(" – ");
    drawBars(box.querySelector("canvas"), histogram(grid, name, limits, maskOfFilters(grid, state.only, name)), bins);
  }
};

export const startHistograms = () => {
  byId("filters-box").addEventListener("toggle", showHistograms);
  byId("filters-clear").onclick = () => set({ only: "" });
  onChange(showHistograms);
};
