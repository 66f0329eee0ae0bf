// The legends of what the map shows, and the status line.

import { iconlessPlaces } from "./brush.js";
import { gridShown, numberWords } from "./cells.js";
import { showClass } from "./choice.js";
import { showDetail } from "./detail.js";
import { redraw } from "./draw.js";
import { legends } from "./scales.js";
import { fitAgain } from "./fitting.js";
import { showHistograms } from "./histograms.js";
import { showSought } from "./lit.js";
import { byId, element } from "./page.js";
import { onChange, viewShown } from "./state.js";
import { offerTour } from "./tour.js";
import { showStrip } from "./trace.js";

function scaleParts({ title, unit, ramp, rows, ticks, note }) {
  const head = element("p", { className: "legend-title" }, element("b", {}, element("bdi", { textContent: title })));
  if (unit) head.append(element("small", { textContent: ` ${unit}` }));
  const parts = [head];
  if (ramp) {
    const canvas = element("canvas", { width: ramp.length, height: 1, className: "ramp" }),
      context = canvas.getContext("2d");
    ramp.forEach((colour, x) => ((context.fillStyle = colour), context.fillRect(x, 0, 1, 1)));
    const words = ticks.map((tick) => element("span", { textContent: tick.words }));
    parts.push(canvas, element("p", { className: "ends" }, ...words));
  }
  if (rows)
    parts.push(
      element(
        "ul",
        {},
        ...rows.map(({ colour, words, beside }) => {
          const swatch = element("span", { className: "swatch" });
          swatch.style.background = colour;
          return element(
            "li",
            {},
            swatch,
            element("bdi", { textContent: words }),
            element("small", { textContent: beside }),
          );
        }),
      ),
    );
  if (note) parts.push(element("p", { className: "note", textContent: note }));
  return parts;
}

let lastLegends = null;

function showLegend() {
  const shown = legends(),
    legend = byId("legend");
  if (shown === lastLegends) return;
  lastLegends = shown;
  legend.hidden = !shown.length;
  legend.replaceChildren(...shown.map((one) => element("section", {}, ...scaleParts(one))));
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
  // A legend that appears may lie on cells.
  fitAgain();
};

/** Update everything after a grid or a part of its data was loaded. */
export const arrived = () => {
  refresh();
  showClass();
  showSought();
  showStrip();
  offerTour();
  showHistograms();
};

export const startLegend = () => onChange(refresh);
