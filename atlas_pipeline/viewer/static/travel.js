// From layer to layer: what was chosen lights up, and what was in sight stays in sight.

import { cameraOf, flyTo, isFlying, land, toMap } from "./camera.js";
import { chosenCell } from "./cells.js";
import { boxName, maskWithin, placesOf, resolved } from "./found.js";
import { startGlide } from "./glide.js";
import { notice, warn } from "./page.js";
import { set, state } from "./state.js";

const median = (values) => Float64Array.from(values).sort()[Math.floor(values.length / 2)];

/** The chosen cell's box, as a link names it; "" without one. */
function chosenBox() {
  const chosen = chosenCell();
  if (!chosen) return "";
  const { grid, cell } = chosen,
    at = (n) => n / grid.size;
  const box = [at(grid.col[cell]), at(grid.row[cell]), at(grid.col[cell] + 1), at(grid.row[cell] + 1)];
  return boxName(state.layer, state.view, box);
}

let carried = ""; // what goTo found: nobody asked for it, and the next chosen cell takes its place

/** Light up the chosen cell's activations in every layer. */
export const lightUp = () => {
  const found = chosenBox();
  if (!found) return void notice("Choose an icon first: its activations light up in every layer.");
  carried = "";
  set({ found });
};

/** Show another layer or view, and keep the place: where lie the activations that were seen or chosen? */
async function travel(layer, view) {
  land();
  const before = state,
    box = chosenBox();
  if (box && (!before.found || before.found === carried)) set({ found: (carried = box) });
  const camera = cameraOf();
  const seen = [toMap(0, 0), toMap(camera.width, camera.height)].flat();
  set({ layer, view, cell: "" });
  startGlide(before, state);
  if (before.z < 1.4 || (before.layer === state.layer && before.view === state.view)) return;
  const target = state;
  const mask = state.found
    ? (await resolved(state.found))?.mask
    : await maskWithin({ layer: before.layer, view: before.view, box: seen });
  const { number, x, y } = await placesOf(target.layer, target.view),
    there = [];
  for (let n = 0; n < number.length; n++) if (mask?.[number[n]]) there.push(n);
  // Meanwhile the view may have been changed again, or the map moved by hand.
  const isUnmoved = ["layer", "view", "x", "y", "z"].every((name) => state[name] === target[name]);
  if (there.length && isUnmoved && !isFlying()) {
    flyTo({ x: median(there.map((n) => x[n])), y: median(there.map((n) => y[n])) });
  }
}
export const goTo = (layer, view) => travel(layer, view).catch((error) => warn(error.message));
