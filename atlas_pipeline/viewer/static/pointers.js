// Pointer input on the map: drags, pinches, clicks and the wheel.

import { brushDrag } from "./brush.js";
import { panBy, stopAnimation, toMap, zoomBy } from "./camera.js";
import { pickAt, pointAt } from "./draw.js";
import { byId } from "./page.js";
import { state } from "./state.js";

const SECOND_CLICK_MS = 250;
let picking = 0;

/** Choose the clicked cell after a delay, because the panel that opens could receive a second click. */
function pickSoon(x, y) {
  const at = toMap(x, y),
    { layer, view } = state;
  picking = setTimeout(() => {
    if (state.layer === layer && state.view === view) pickAt(...at);
  }, SECOND_CLICK_MS);
}

const fingers = new Map();
let travelled = 0;
let mode = "pan";
const placeOfEvent = (event) => {
  const box = byId("map").getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};

/** Set how drags are used: "pan", or "brush" or "trace", for which take(phase, x, y) is called. */
let handler = null;
export const takeDrags = (name, take) => {
  mode = name;
  handler = take ?? null;
  byId("map").dataset.mode = name;
};
export const dragMode = () => mode;

const release = (event) => {
  if (!fingers.delete(event.pointerId)) return;
  if (fingers.taken) {
    fingers.taken(event.type === "pointerup" ? "end" : "cancel", ...placeOfEvent(event));
    fingers.taken = null;
  } else if (event.type === "pointerup" && travelled <= 4) {
    pickSoon(...placeOfEvent(event));
  }
};

/** Listen to pointers on the map. */
export const startPointers = () => {
  const canvas = byId("map");
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    stopAnimation();
    clearTimeout(picking);
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, placeOfEvent(event));
    travelled = fingers.size > 1 ? Infinity : 0;
    const taken = handler ?? (event.shiftKey ? brushDrag : null);
    if (taken && fingers.size === 1) {
      fingers.taken = taken;
      taken("start", ...placeOfEvent(event));
    }
  });

  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId),
      [x, y] = placeOfEvent(event);
    if (!before) return void pointAt(x, y, event.clientX, event.clientY);
    travelled += Math.hypot(x - before[0], y - before[1]);
    fingers.set(event.pointerId, [x, y]);
    if (fingers.taken) return void fingers.taken("move", x, y);
    if (travelled > 4) pointAt(null);
    if (fingers.size === 2) {
      const [[otherX, otherY]] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      const span = (at) => Math.hypot(at[0] - otherX, at[1] - otherY);
      const middle = [(before[0] + otherX) / 2, (before[1] + otherY) / 2];
      zoomBy(span([x, y]) / Math.max(1, span(before)), ...middle);
      panBy((before[0] - x) / 2, (before[1] - y) / 2);
    } else {
      panBy(before[0] - x, before[1] - y);
    }
  });

  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => pointAt(null));
  canvas.addEventListener("dblclick", (event) => {
    clearTimeout(picking);
    if (mode === "pan") zoomBy(2, ...placeOfEvent(event));
  });
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      // Convert lines and pages to pixels. A trackpad reports a pinch as a wheel with ctrl, in finer steps.
      const pixels = event.deltaY * [1, 16, 400][event.deltaMode];
      zoomBy(Math.exp(-pixels * (event.ctrlKey ? 0.01 : 0.0016)), ...placeOfEvent(event));
    },
    { passive: false },
  );
};
