// The minimap: the whole map in a corner, with a frame around the visible part, which can be dragged.

import { drawPlaces } from "./brush.js";
import { cameraOf, isWholeSeen } from "./camera.js";
import { gridShown } from "./cells.js";
import { theme } from "./draw.js";
import { byId } from "./page.js";
import { overviewOf } from "./sheets.js";
import { set, state, viewShown } from "./state.js";

let small = { name: "" };

/** The overview reduced to the minimap's size, cached. */
function reduced(whole, name, side) {
  if (small.name === name) return small.canvas;
  const canvas = new OffscreenCanvas(side, side),
    target = canvas.getContext("2d");
  target.imageSmoothingQuality = "high";
  target.drawImage(whole, 0, 0, side, side);
  small = { name, canvas };
  return canvas;
}

export const drawMinimap = () => {
  const canvas = byId("minimap");
  // It would repeat the map, which is all on the screen.
  canvas.hidden = isWholeSeen();
  const context = canvas.getContext("2d");
  const side = canvas.clientWidth,
    ratio = devicePixelRatio || 1;
  if (!side) return;
  if (canvas.width !== Math.round(side * ratio)) canvas.width = canvas.height = Math.round(side * ratio);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, side, side);
  const { grids } = viewShown(),
    camera = { left: 0, top: 0, width: side, height: side, scale: side };
  const grid = gridShown();
  if (grid) {
    const whole = overviewOf(grid, state.full);
    const name = `${grid.folder}#${state.full}#${canvas.width}`;
    if (whole) context.drawImage(reduced(whole, name, canvas.width), 0, 0, side, side);
  } else if (!grids.length) {
    drawPlaces(context, camera);
  }
  const { left, top, width, height, scale } = cameraOf();
  const box = [
    (-left / scale) * side,
    (-top / scale) * side,
    (width / scale) * side,
    (height / scale) * side,
  ];
  context.fillStyle = theme().paper;
  context.globalAlpha = 0.55;
  const around = new Path2D();
  around.rect(0, 0, side, side);
  around.rect(...box);
  context.fill(around, "evenodd");
  context.globalAlpha = 1;
  context.strokeStyle = theme().accent;
  context.lineWidth = 1.5;
  context.strokeRect(...box);
};

/** Listen to presses and drags on the minimap. */
export const startMinimap = () => {
  const canvas = byId("minimap");
  const go = (event) => {
    const box = canvas.getBoundingClientRect();
    set({ x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height });
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    go(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (canvas.hasPointerCapture(event.pointerId)) go(event);
  });
};
