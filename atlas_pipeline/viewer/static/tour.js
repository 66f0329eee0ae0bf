// A tour of four steps over places of the run itself. It is offered once, can be left at any step, and can be
// asked for again.

import { cameraOf, flyTo } from "./camera.js";
import { goHome } from "./fitting.js";
import { agreementOf, chooseCell, gridShown, measureOf, numberWords, topClasses } from "./cells.js";
import { run } from "./data.js";
import { measureWords } from "./detail.js";
import { headingOf } from "./evidence.js";
import { lightClass } from "./lit.js";
import { viewNames } from "./names.js";
import { byId, element, notice, remember, remembered, say, showSide } from "./page.js";
import { onChange, set, state } from "./state.js";

const ICON_PX = 120; // side of the first step's icon on the screen
const SEEN = "tour";

const measureNamed = (name) => run.measures.find((measure) => measure.name === name);

/** A cell that shows well what an icon is: many activations that agree, and a faithful icon. */
export const exemplary = (grid) => {
  const fidelity = measureNamed("fidelity"),
    counts = [...grid.count].sort((a, b) => a - b),
    middle = counts[counts.length >> 1];
  let best = 0,
    most = -Infinity;
  for (let cell = 0; cell < grid.cells; cell++) {
    if (grid.count[cell] < middle) continue;
    const worth = agreementOf(grid, cell) * ((fidelity && measureOf(grid, fidelity, cell)) ?? 1);
    if (worth > most) [best, most] = [cell, worth];
  }
  return best;
};

const middleOf = (grid, cell) => ({
  x: (grid.col[cell] + 0.5) / grid.size,
  y: (grid.row[cell] + 0.5) / grid.size,
});

/** The named region of the most activations; null if the map has no names. */
const largestRegion = () =>
  (viewNames() ?? []).reduce((best, one) => (one.count > (best?.count ?? 0) ? one : best), null);

function stepIcon({ grid, cell }) {
  // The grid stays: the icon that is told of would give way to smaller ones.
  set({ cell: "", grid: grid.size });
  const { scale } = cameraOf();
  flyTo({ ...middleOf(grid, cell), z: Math.max(1, (state.z * ICON_PX * grid.size) / scale) });
  const { kicker, title } = headingOf(grid, cell),
    called = topClasses(grid, cell).length ? ` It ${kicker.toLowerCase()} ${title}.` : "";
  return {
    title: "An icon",
    words: `${numberWords(grid.count[cell])} activations of real images fell into the cell in the middle. Its icon was optimised until it excited ${state.layer} as their mean does.${called} Icons are smaller where there are fewer activations.`,
  };
}

function stepEvidence({ grid, cell }) {
  chooseCell(grid, cell);
  const fidelity = measureNamed("fidelity"),
    [noise, nearest] = ["noise", "nearest"].map(measureNamed);
  const numbers =
    fidelity && grid[fidelity.column]
      ? ` Fidelity ${measureWords(grid, fidelity, cell)} says how nearly the icon reproduces that mean; noise reaches ${measureWords(grid, noise, cell)}, the nearest real patch ${measureWords(grid, nearest, cell)}.`
      : "";
  return {
    title: "Its evidence",
    words: `A click opens a cell${grid.cropPx ? ": its icon beside the real patches nearest to its mean, then members up to the farthest" : ""}. Every number is explained where it stands.${numbers}`,
  };
}

function stepRegion() {
  set({ cell: "", lit: "", grid: 0 });
  const region = largestRegion();
  if (!region) {
    goHome();
    return {
      title: "The map",
      words:
        "Activations that are alike lie close together. A name appears where at least half of the activations agree on a class; on this map they agree nowhere, so it has no names.",
    };
  }
  flyTo({ x: region.x, y: region.y, z: Math.min(6, Math.max(1.3, 0.5 / region.side)) });
  return {
    title: "A region",
    words: `Activations that are alike lie close together. ${numberWords(region.count)} of them lie here, and ${Math.round(100 * region.agreement)} % agree on a class: ${region.lines.join(" ")}. Places where less than half agree have no name. Zoom in for more icons and more names.`,
  };
}

function stepBeyond({ grid, cell }) {
  goHome();
  const [top] = topClasses(grid, cell);
  if (top) lightClass(String(top.index));
  const layers = run.layers.length > 1 ? " Choose another layer to see the same images move to their places there." : "";
  return {
    title: top ? "A class lit up" : "Go on from here",
    words: `${top ? `Cells that speak for ${top.label} stay bright; type any other class.` : "Colour the cells by a number, find an image, or draw a path."}${layers} The address holds what you see, and Back undoes a step.`,
  };
}

const TOUR = [stepIcon, stepEvidence, stepRegion, stepBeyond];
let step = -1; // -1: not on tour
let subject = null; // the cell that the tour tells of: {grid, cell}

function show(title, words, ...buttons) {
  const tour = byId("tour"),
    isNew = tour.hidden;
  tour.hidden = false;
  tour.replaceChildren(
    element("h2", { textContent: title }),
    element("p", { textContent: words }),
    element("div", { className: "actions" }, ...buttons),
  );
  say(`${title}. ${words}`);
  // Keyboard users go on with Enter; on the first offer the focus stays where it is.
  if (!isNew || step >= 0) tour.querySelector(".actions button:last-child").focus();
}

const button = (textContent, onclick, className = "") => element("button", { textContent, onclick, className });

function goStep(next) {
  step = next;
  if (step >= TOUR.length) return void endTour();
  const { title, words } = TOUR[step](subject);
  show(
    title,
    words,
    element("small", { textContent: `${step + 1} of ${TOUR.length}` }),
    button("Skip", endTour, "plain"),
    ...(step ? [button("Back", () => goStep(step - 1))] : []),
    button(step === TOUR.length - 1 ? "Done" : "Next", () => goStep(step + 1), "main"),
  );
}

/** Leave the tour, with the map as it was found. */
export function endTour() {
  const wasOnTour = step >= 0;
  remember(SEEN, "seen");
  step = -1;
  byId("tour").hidden = true;
  if (!wasOnTour) return;
  set({ cell: "", lit: "", grid: 0 });
  goHome();
  byId("map").focus();
}

/** Start the tour at its first step. */
export const beginTour = () => {
  remember(SEEN, "seen");
  showSide(false);
  set({ cell: "", lit: "", grid: 0, crops: false, colour: "", found: "", path: "" });
  const grid = gridShown();
  if (!grid) return void notice("There are no icons in this view yet.");
  subject = { grid, cell: exemplary(grid) };
  goStep(0);
};

let isOffered = false;

/** Offer the tour to a first visitor who opened no link to a certain view, once there are icons to show. */
export const offerTour = () => {
  if (isOffered || !gridShown()) return;
  isOffered = true;
  if (remembered(SEEN) || location.hash.includes("=")) return;
  show(
    "New to activation atlases?",
    "This is a map of what one layer of a network responds to. A tour of four steps shows how to read it.",
    button("No, thanks", endTour, "plain"),
    button("Show me", beginTour, "main"),
  );
};

export const startTour = () => {
  byId("tour-start").onclick = beginTour;
  byId("help-tour").onclick = () => {
    byId("help").close();
    beginTour();
  };
  byId("tour").addEventListener("keydown", (event) => {
    if (event.key === "Escape") endTour();
  });
  onChange((names) => {
    // Another layer or view has other places.
    if (step >= 0 && (names.has("layer") || names.has("view"))) endTour();
  });
};
