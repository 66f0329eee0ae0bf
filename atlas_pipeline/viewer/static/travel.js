// Changes of the layer or view: the chosen activations are highlighted, and visible ones stay visible.

import { cameraOf, finishAnimation, flyTo, isAnimating, isWholeSeen, toMap } from "./camera.js";
import { chosenCell } from "./cells.js";
import { boxName, maskWithin, placesOf, resolved } from "./found.js";
import { startGlide } from "./glide.js";
import { notice, warn } from "./page.js";
import { set, state } from "./state.js";

const median = (values) => Float64Array.from(values).sort()[Math.floor(values.length / 2)];

/** The box of the chosen cell, encoded as a selection; "" without a chosen cell. */
function chosenBox() {
  const chosen = chosenCell();
  if (!chosen) return "";
  const { grid, cell } = chosen,
    at = (n) => n / grid.size;
  const box = [at(grid.col[cell]), at(grid.row[cell]), at(grid.col[cell] + 1), at(grid.row[cell] + 1)];
  return boxName(state.layer, state.view, box);
}

let automatic = ""; // the selection that travel made by itself, which the next one may replace

/** Select the chosen cell's activations in every layer. */
export const lightUp = () => {
  const found = chosenBox();
  if (!found) return void notice("Choose an icon first: its activations light up in every layer.");
  automatic = "";
  set({ found });
};

/** Show another layer or view, and move to the activations that were selected or, without any, visible. */
async function travel(layer, view) {
  finishAnimation();
  const before = state,
    box = chosenBox();
  if (box && (!before.found || before.found === automatic)) set({ found: (automatic = box) });
  const camera = cameraOf(),
    wasWhole = isWholeSeen(camera);
  const seen = [toMap(0, 0), toMap(camera.width, camera.height)].flat();
  // The second map takes the layer that this one leaves, if it shows the wanted one.
  set({ layer, view, cell: "", beside: before.beside === layer ? before.layer : before.beside });
  startGlide(before, state);
  if (wasWhole || (before.layer === state.layer && before.view === state.view)) return;
  const target = state;
  const mask = state.found
    ? (await resolved(state.found))?.mask
    : await maskWithin({ layer: before.layer, view: before.view, box: seen });
  const { number, x, y } = await placesOf(target.layer, target.view),
    masked = [];
  for (let n = 0; n < number.length; n++) if (mask?.[number[n]]) masked.push(n);
  // The user may have changed the view again or moved the map during the load.
  const isUnmoved = ["layer", "view", "x", "y", "z"].every((name) => state[name] === target[name]);
  if (masked.length && isUnmoved && !isAnimating()) {
    flyTo({ x: median(masked.map((n) => x[n])), y: median(masked.map((n) => y[n])) });
  }
}
export const goTo = (layer, view) => travel(layer, view).catch((error) => warn(error.message));
