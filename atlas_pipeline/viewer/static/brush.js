// Brushing: a drag selects a region, and the selected activations are drawn as dots.

import { cameraOf, toMap } from "./camera.js";
import { fileStore } from "./data.js";
import { redraw, theme } from "./draw.js";
import { boxName, litHere, placesOf } from "./found.js";
import { arrived } from "./legend.js";
import { byId, notice } from "./page.js";
import { dragMode, takeDrags } from "./pointers.js";
import { set, state, viewShown } from "./state.js";

let box = null;

/** Handle a drag that selects a region. phase: "start", "move", "end" or "cancel"; x, y: canvas pixels. */
export const brushDrag = (phase, x, y) => {
  const at = toMap(x, y);
  if (phase === "start") box = [at, at];
  if (phase === "move" && box) box[1] = at;
  if (phase === "end" && box) {
    const [[x0, y0], [x1, y1]] = box;
    const corners = [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];
    const { layer, view } = state;
    // Ignore taps: their region is too small.
    if ((corners[2] - corners[0]) * cameraOf().scale > 3) set({ found: boxName(layer, view, corners) });
  }
  if (phase === "end" || phase === "cancel") {
    box = null;
    setBrush(false);
  }
  redraw();
};

function setBrush(on) {
  takeDrags(on ? "brush" : "pan", on ? brushDrag : null);
  byId("brush").setAttribute("aria-pressed", String(on));
  byId("trace").setAttribute("aria-pressed", "false");
  if (on) notice("Drag over the map: the activations there light up in every layer.");
}

/** Draw dots at places {x, y} of the map. */
export function drawDots(target, { left, top, scale, width, height }, { x, y }, colour, radius) {
  const { paper } = theme(),
    path = new Path2D();
  for (let n = 0; n < x.length; n++) {
    const px = left + x[n] * scale,
      py = top + y[n] * scale;
    if (px < -9 || py < -9 || px > width + 9 || py > height + 9) continue;
    path.moveTo(px + radius, py);
    path.arc(px, py, radius, 0, 7);
  }
  if (radius > 2) (Object.assign(target, { strokeStyle: paper, lineWidth: 2.5 }), target.stroke(path));
  target.fillStyle = colour;
  target.fill(path);
}

/** Draw selected activations as dots, and their box if it belongs to the view. */
export const drawSelection = (target, camera, { points, box: corners }) => {
  const { accent } = theme();
  if (points)
    drawDots(target, camera, points, accent, points.x.length < 60 ? 5 : points.x.length < 800 ? 3 : 1.8);
  if (!corners) return;
  const [x0, y0, x1, y1] = corners.map((at, n) => camera[n % 2 ? "top" : "left"] + at * camera.scale);
  target.strokeStyle = accent;
  target.lineWidth = 1.5;
  target.strokeRect(x0, y0, x1 - x0, y1 - y0);
};

/** Draw the selection of the shown view, or the box that is being drawn. */
export const drawFound = (target, camera) => {
  const { points, box: region } = litHere();
  drawSelection(target, camera, { points, box: box?.flat() ?? region });
};

const iconless = fileStore();

/** Places of the known images' activations in a view without icons; null while loading, or in other views. */
export const iconlessPlaces = () => {
  const { layer, view } = state;
  if (!viewShown().missing) return null;
  return iconless.get(`${layer}/${view}`, () => placesOf(layer, view), arrived);
};

/** Draw the activations of a view without icons as dots. */
export const drawPlaces = (target, camera) => {
  const places = iconlessPlaces();
  if (places) drawDots(target, camera, places, theme().muted, camera.scale > 300 ? 1.4 : 0.6);
};

export const startBrush = () => {
  byId("brush").onclick = () => setBrush(dragMode() !== "brush");
};
