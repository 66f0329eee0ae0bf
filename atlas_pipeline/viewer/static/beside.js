// The second map: another layer beside the first, with a camera of its own.

import { cameraAt, SQUARE, toMap, zoomedAt } from "./camera.js";
import { cellAt, gridFor, gridIn, numberWords, wordsFor } from "./cells.js";
import { run } from "./data.js";
import { drawSheets, redraw, theme } from "./draw.js";
import { fitted } from "./fitting.js";
import { boxName, litIn } from "./found.js";
import { drawSelection } from "./brush.js";
import { drawLinked, forgetPointed, linkedIn, linkedWords, pointAtCell } from "./linked.js";
import { byId, element, notice, say } from "./page.js";
import { onChange, set, state, viewIn } from "./state.js";
import { showTip } from "./tip.js";
import { goTo } from "./travel.js";

const LARGEST_PX = 320; // largest size of a cell of the finest grid
let besidePlace = null; // {x, y, z} of the second map; null: the whole map
let cursor = null; // {grid, cell} under the pointer, or chosen by keys

const map = () => byId("beside-map");

function sized(extent) {
  const { clientWidth: width, clientHeight: height } = map();
  return cameraAt(besidePlace ?? fitted(extent ?? SQUARE, width, height), width, height);
}

/** The grid of the second map: of the chosen size if its layer has it, else by zoom; null while it loads. */
export const besideGrid = () => {
  if (!state.beside) return null;
  const view = viewIn(state.beside),
    { grids } = view;
  if (!grids.length) return null;
  const wanted = grids.find(({ size }) => size === state.grid) ?? gridFor(grids, sized(null).scale);
  return gridIn(state.beside, view.name, wanted);
};

/** The camera of the second map; see cameraOf. */
export const besideCamera = () => sized(besideGrid()?.extent);

/** Draw the second map, if it is open. */
export const drawBeside = (ratio) => {
  if (!state.beside || !map().clientWidth) return;
  const canvas = map(),
    [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.round(side * ratio));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const target = canvas.getContext("2d"),
    grid = besideGrid(),
    camera = besideCamera();
  target.setTransform(ratio, 0, 0, ratio, 0, 0);
  target.fillStyle = theme().paper;
  target.fillRect(0, 0, camera.width, camera.height);
  if (grid) drawSheets(target, grid, camera, ratio);
  drawSelection(target, camera, litIn(state.beside, viewIn(state.beside).name));
  drawLinked(target, camera, state.beside, grid);
  if (grid && cursor?.grid === grid) drawCursor(target, camera);
  showWords(grid);
};

function drawCursor(target, { left, top, scale }) {
  const { grid, cell } = cursor,
    px = scale / grid.size;
  Object.assign(target, { strokeStyle: theme().ink, lineWidth: 2 });
  target.strokeRect(left + grid.col[cell] * px, top + grid.row[cell] * px, px, px);
}

function showWords(grid) {
  const linked = linkedIn(state.beside, grid),
    { missing } = viewIn(state.beside);
  const here = grid
    ? `${grid.size} × ${grid.size} · ${numberWords(grid.cells)} icons`
    : missing
      ? `No icons: ${missing}`
      : "…";
  byId("beside-status").textContent = linked?.x.length ? linkedWords(linked, state.beside) : here;
}

function pointTo(cell, x, y) {
  const grid = besideGrid();
  cursor = grid && cell >= 0 ? { grid, cell } : null;
  pointAtCell(state.beside, cursor);
  if (x !== undefined) showTip(grid, cell, x, y);
  redraw();
}

/** Light the activations of a cell of the second map in every layer. */
function choose({ grid, cell }) {
  const at = (n) => n / grid.size,
    [row, col] = [grid.row[cell], grid.col[cell]];
  const box = [at(col), at(row), at(col + 1), at(row + 1)];
  set({ found: boxName(state.beside, viewIn(state.beside).name, box) });
}

function moveTo(next) {
  besidePlace = next;
  redraw();
}

function placeNow() {
  const { left, top, scale, width, height } = besideCamera(),
    whole = cameraAt({ x: 0, y: 0, z: 1 }, width, height).scale;
  return { x: (width / 2 - left) / scale, y: (height / 2 - top) / scale, z: scale / whole };
}

function zoom(factor, x, y) {
  const { width, height } = besideCamera(),
    now = placeNow(),
    finest = Math.max(20, ...viewIn(state.beside).grids.map(({ size }) => size));
  const most = (LARGEST_PX * finest) / cameraAt({ x: 0, y: 0, z: 1 }, width, height).scale;
  moveTo(
    zoomedAt(
      now,
      Math.min(most, Math.max(0.5, now.z * factor)),
      x ?? width / 2,
      y ?? height / 2,
      width,
      height,
    ),
  );
}

function pan(right, down) {
  const { scale } = besideCamera(),
    now = placeNow();
  moveTo({ ...now, x: now.x + right / scale, y: now.y + down / scale });
}

const cellUnder = (x, y) => {
  const grid = besideGrid();
  return grid ? cellAt(grid, ...toMap(x, y, besideCamera())) : -1;
};

const touches = new Map();
let dragged = 0;

function listen(canvas) {
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    touches.set(event.pointerId, at(event));
    dragged = touches.size > 1 ? Infinity : 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = touches.get(event.pointerId),
      [x, y] = at(event);
    if (!before) return pointTo(cellUnder(x, y), event.clientX, event.clientY);
    dragged += Math.hypot(x - before[0], y - before[1]);
    touches.set(event.pointerId, [x, y]);
    if (dragged > 4) pointTo(-1, 0, 0);
    const other = [...touches].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const span = ([a, b]) => Math.hypot(a - other[0], b - other[1]);
      zoom(span([x, y]) / Math.max(1, span(before)), (x + other[0]) / 2, (y + other[1]) / 2);
    } else pan(before[0] - x, before[1] - y);
  });
  const release = (event) => {
    if (!touches.delete(event.pointerId) || event.type !== "pointerup" || dragged > 4) return;
    const cell = cellUnder(...at(event));
    if (cell >= 0) choose({ grid: besideGrid(), cell });
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => pointTo(-1, 0, 0));
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const pixels = event.deltaY * [1, 16, 400][event.deltaMode];
      zoom(Math.exp(-pixels * (event.ctrlKey ? 0.01 : 0.0016)), ...at(event));
    },
    { passive: false },
  );
  canvas.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || !BESIDE_KEYS[event.key]) return;
    BESIDE_KEYS[event.key]();
    event.preventDefault();
  });
}

/** Point at the next cell with an icon in a direction [down, right], first at the one nearest to the middle. */
function stepBeside(down, right) {
  const grid = besideGrid();
  if (!grid?.cells) return;
  let next = -1;
  if (cursor?.grid === grid) {
    let [row, col] = [grid.row[cursor.cell] + down, grid.col[cursor.cell] + right];
    const isInside = () => row >= 0 && col >= 0 && row < grid.size && col < grid.size;
    while (isInside() && grid.at[row * grid.size + col] < 0) [row, col] = [row + down, col + right];
    if (!isInside()) return void say("No further icon");
    next = grid.at[row * grid.size + col];
  } else {
    const [x, y] = toMap(map().clientWidth / 2, map().clientHeight / 2, besideCamera()),
      far = (cell) =>
        Math.hypot((grid.col[cell] + 0.5) / grid.size - x, (grid.row[cell] + 0.5) / grid.size - y);
    for (let cell = 0; cell < grid.cells; cell++) if (next < 0 || far(cell) < far(next)) next = cell;
  }
  pointTo(next);
  const { left, top, scale, width, height } = besideCamera(),
    [px, py] = [
      left + ((grid.col[next] + 0.5) * scale) / grid.size,
      top + ((grid.row[next] + 0.5) * scale) / grid.size,
    ];
  if (px < 0 || py < 0 || px > width || py > height) pan(px - width / 2, py - height / 2);
  const linked = linkedIn(state.layer, null);
  say(
    [wordsFor(grid, next), linked ? `${numberWords(linked.x.length)} lit in ${state.layer}` : ""].join("; "),
  );
}

const BESIDE_KEYS = {
  ArrowLeft: () => stepBeside(0, -1),
  ArrowRight: () => stepBeside(0, 1),
  ArrowUp: () => stepBeside(-1, 0),
  ArrowDown: () => stepBeside(1, 0),
  Enter: () => cursor && choose(cursor),
  Escape: () => pointTo(-1),
  "+": () => zoom(1.4),
  "=": () => zoom(1.4),
  "-": () => zoom(1 / 1.4),
  0: () => moveTo(null),
  l: () => toggleBeside(),
};

/** Open a second map with the next layer, or close it. */
export const toggleBeside = () => {
  const { layers } = run,
    at = layers.findIndex(({ name }) => name === state.layer),
    other = layers[at + 1] ?? layers[at - 1];
  if (!other) return void notice("This run has one layer only.");
  set({ beside: state.beside ? "" : other.name });
  if (!state.beside) byId("map").focus();
};

function showBeside(names) {
  if (!["layer", "view", "grid", "beside"].some((name) => names.has(name))) return;
  const isOpen = state.beside !== "";
  byId("beside").hidden = !isOpen;
  byId("two-maps").setAttribute("aria-pressed", String(isOpen));
  byId("two-maps").hidden = run.layers.length < 2;
  byId("stage-name").textContent = isOpen ? state.layer : "";
  byId("stage-name").hidden = !isOpen;
  if (names.has("beside") || names.has("view")) besidePlace = null;
  forgetPointed();
  cursor = null;
  if (!isOpen) return;
  const others = run.layers.filter(({ name }) => name !== state.layer);
  byId("beside-layer").replaceChildren(
    ...others.map(({ name }) =>
      element("option", { value: name, textContent: name, selected: name === state.beside }),
    ),
  );
  map().setAttribute("aria-label", `Map of icons of ${state.beside}`);
}

export const startBeside = () => {
  listen(map());
  new ResizeObserver(redraw).observe(map());
  byId("two-maps").onclick = toggleBeside;
  byId("beside-close").onclick = toggleBeside;
  byId("beside-swap").onclick = () => goTo(state.beside, state.view);
  byId("beside-layer").onchange = (event) => set({ beside: event.target.value });
  onChange(showBeside);
};
