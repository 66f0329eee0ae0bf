// The legend of the map's colours, and the status line.

import { iconlessPlaces } from "./brush.js";
import { gridShown, numberWords } from "./cells.js";
import { showClass } from "./choice.js";
import { showDetail } from "./detail.js";
import { redraw } from "./draw.js";
import { measured, MEASURES, rangeOf } from "./measures.js";
import { commonest, scaleColour, sharesOf } from "./overlay.js";
import { byId, element } from "./page.js";
import { onChange, state, viewShown } from "./state.js";
import { showStrip } from "./trace.js";

function showLegend() {
  const { colour } = state,
    grid = gridShown(),
    legend = byId("legend");
  legend.hidden = !(colour && grid && MEASURES[colour]);
  if (legend.hidden) return;
  const name = `${grid.folder}#${colour}`;
  if (legend.dataset.name === name) return;
  legend.dataset.name = name;
  if (colour === "classes" && grid.numTop) {
    const rows = commonest(grid).map(({ label, count, colour: fill }) => {
      const swatch = element("span", { className: "swatch" });
      swatch.style.background = fill;
      return element(
        "li",
        {},
        swatch,
        element("bdi", { textContent: label }),
        element("small", { textContent: numberWords(count) }),
      );
    });
    const others = new Set(grid.top.filter((_, at) => at % grid.numTop === 0)).size - rows.length;
    legend.replaceChildren(
      element("ul", {}, ...rows),
      others > 0
        ? element("p", { className: "note", textContent: `grey: ${numberWords(others)} other classes` })
        : "",
    );
    return;
  }
  if (MEASURES[colour].ready?.(grid) === false) {
    // Remove the legend of the previous measure until the numbers are loaded.
    legend.replaceChildren();
    return void (legend.dataset.name = "");
  }
  const range = colour === "classes" ? null : rangeOf(grid, colour);
  if (!range)
    return void legend.replaceChildren(
      element("p", { className: "note", textContent: "Not known in this atlas" }),
    );
  const ramp = element("canvas", { width: 128, height: 1, className: "ramp" }),
    context = ramp.getContext("2d"),
    [from, to] = range.map(sharesOf(colour, range));
  for (let x = 0; x < 128; x++) {
    context.fillStyle = `rgb(${scaleColour(from + ((to - from) * x) / 127).map(Math.round)})`;
    context.fillRect(x, 0, 1, 1);
  }
  // If all cells are equal, the scale has a single number.
  const words = [...new Set(range)].map((value) => element("span", { textContent: measured(colour, value) }));
  legend.replaceChildren(ramp, element("p", { className: "ends" }, ...words));
}

function showStatus() {
  const grid = gridShown(),
    view = viewShown();
  byId("status").textContent = grid
    ? `${grid.size} × ${grid.size} · ${numberWords(grid.cells)} icons · ${numberWords(grid.activations)} activations`
    : view.missing
      ? `No icons: ${view.missing}. ${dotWords(view)}`
      : "…";
}

/** How many activations of a view without icons are drawn as dots: only known images have places. */
function dotWords({ activations }) {
  const drawn = iconlessPlaces()?.slot.length ?? null,
    all = numberWords(activations);
  if (drawn === null) return "";
  return `The dots are ${drawn < activations ? `${numberWords(drawn)} of ${all}` : all} activations.`;
}

const refresh = () => {
  redraw();
  showDetail();
  showLegend();
  showStatus();
};

/** Update everything after a grid or a part of its data was loaded. */
export const arrived = () => {
  refresh();
  showClass();
  showStrip();
};

export const startLegend = () => onChange(refresh);
