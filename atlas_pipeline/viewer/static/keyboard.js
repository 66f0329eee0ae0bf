// The keys that work while the map has the focus, and their list in the help.

import { toggleBeside } from "./beside.js";
import { panBy, zoomBy } from "./camera.js";
import { goHome } from "./fitting.js";
import { chooseCell, chosenCell, gridShown } from "./cells.js";
import { toggleTheme } from "./controls.js";
import { run } from "./data.js";
import { byId, element, say, showSide } from "./page.js";
import { set, state, viewShown } from "./state.js";
import { tracePoint } from "./trace.js";
import { goTo, lightUp } from "./travel.js";

const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
const STEP_PX = 80;

const KEYS = [
  ["← ↑ → ↓", "move the map; from icon to icon when one is chosen"],
  ["+ −", "zoom in, out"],
  ["0", "the whole map"],
  ["Enter", "choose the icon in the middle"],
  ["Esc", "clear the choice"],
  ["[ ]", "the previous, next layer"],
  ["g", "the next grid"],
  ["c", "icons or dataset patches"],
  ["s", "size by density or full"],
  ["n", "names on the map"],
  ["b", "light up the chosen icon's activations in every layer"],
  ["t", "extend the path to the chosen icon"],
  ["l", "a second layer beside the map"],
  ["/", "type a class"],
  ["d", "dark or light"],
  ["?", "this list"],
  ["Shift + drag", "brush a region: its activations light up in every layer"],
];

/** Choose the next cell with an icon in a direction [down, right] from the chosen one. */
function stepCell([down, right]) {
  const { grid, cell } = chosenCell(),
    { size, at } = grid;
  let row = grid.row[cell] + down,
    col = grid.col[cell] + right;
  while (row >= 0 && col >= 0 && row < size && col < size && at[row * size + col] < 0)
    [row, col] = [row + down, col + right];
  const next = row >= 0 && col >= 0 && row < size && col < size ? at[row * size + col] : -1;
  if (next < 0) return void say("No further icon");
  chooseCell(grid, next);
}

/** Choose the cell nearest to the centre of the visible map. */
function chooseMiddle() {
  const grid = gridShown(),
    { x, y } = state;
  if (!grid) return;
  let best = -1,
    least = Infinity;
  for (let cell = 0; cell < grid.cells; cell++) {
    const far = Math.hypot((grid.col[cell] + 0.5) / grid.size - x, (grid.row[cell] + 0.5) / grid.size - y);
    if (far < least) [best, least] = [cell, far];
  }
  if (best >= 0) chooseCell(grid, best);
}

function nextLayer(step) {
  const { layers } = run,
    at = layers.findIndex(({ name }) => name === state.layer);
  const next = layers[at + step];
  if (next) goTo(next.name, state.view);
}

function nextGrid() {
  const sizes = [0, ...viewShown().grids.map(({ size }) => size)];
  set({ grid: sizes[(sizes.indexOf(state.grid) + 1) % sizes.length] });
}

const toggle = (name) => set({ [name]: !state[name] });
const ACTIONS = {
  "+": () => zoomBy(1.4),
  "=": () => zoomBy(1.4),
  "-": () => zoomBy(1 / 1.4),
  0: () => goHome(),
  Home: () => goHome(),
  Enter: chooseMiddle,
  Escape: () => set({ cell: "", image: "" }),
  "[": () => nextLayer(-1),
  "]": () => nextLayer(1),
  g: nextGrid,
  c: () => toggle("crops"),
  s: () => toggle("full"),
  n: () => toggle("labels"),
  b: () => lightUp(),
  t: () => tracePoint(),
  l: toggleBeside,
  "/": () => (showSide(true), byId("class").focus()),
  d: () => toggleTheme(),
  "?": () => byId("help").showModal(),
};

/** Listen to keys on the map, and list them in the help. */
export const startKeyboard = () => {
  byId("keys").replaceChildren(
    ...KEYS.flatMap(([keys, words]) => [
      element("dt", { textContent: keys }),
      element("dd", { textContent: words }),
    ]),
  );
  // Letter keys work only on the map. Elsewhere they are for typing and for screen readers.
  byId("map").addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const arrow = ARROWS[event.key];
    if (arrow && chosenCell()) stepCell(arrow);
    else if (arrow) panBy(arrow[1] * STEP_PX, arrow[0] * STEP_PX);
    else if (ACTIONS[event.key]) ACTIONS[event.key]();
    else return;
    event.preventDefault();
  });
};
