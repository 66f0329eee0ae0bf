// Lines and words that are drawn over the icons.

import { eachInSight, theme } from "./draw.js";
import { state, viewShown } from "./state.js";

const FRAMES_PX = 9; // cells this large have a frame under the veil
const ARROW_PX = 30; // of a comparison's axis, and the room beside its words

/** A frame for every icon, so that the map can be seen under the veil of a class. */
export const drawFrames = (target, grid, camera) => {
  if (camera.scale / grid.size < FRAMES_PX) return;
  const path = new Path2D();
  eachInSight(grid, camera, (cell, x, y, px) => {
    const side = state.full ? px : (px * grid.side[cell]) / 255,
      margin = (px - side) / 2;
    path.rect(x + margin, y + margin, side, side);
  });
  target.strokeStyle = theme().line;
  target.lineWidth = 1;
  target.stroke(path);
};

/** A frame around one cell. */
export const outlineCell = (target, grid, cell, { left, top, scale }, colour, width) => {
  const px = scale / grid.size,
    x = left + grid.col[cell] * px,
    y = top + grid.row[cell] * px;
  target.lineWidth = width + 2;
  target.strokeStyle = theme().paper;
  target.strokeRect(x, y, px, px);
  target.lineWidth = width;
  target.strokeStyle = colour;
  target.strokeRect(x, y, px, px);
};

/** Words cut to a width, with an ellipsis. */
function cut(target, words, width) {
  const fits = (text) => target.measureText(text).width <= width,
    characters = [...words],
    first = (length) => characters.slice(0, length).join("") + "…";
  if (fits(words)) return words;
  let [least, most] = [0, characters.length];
  while (least < most) {
    const middle = Math.ceil((least + most) / 2);
    if (fits(first(middle))) least = middle;
    else most = middle - 1;
  }
  return first(least);
}

/** The words at both ends of a comparison's axis. */
export const drawAxis = (target, camera) => {
  const { axis } = viewShown(),
    { ink, paper } = theme();
  if (!axis) return;
  const y = Math.min(camera.top + camera.scale + 22, camera.height - 14);
  const ends = [Math.max(12, camera.left), Math.min(camera.width - 12, camera.left + camera.scale)];
  Object.assign(target, {
    font: "600 14px system-ui, sans-serif",
    textBaseline: "middle",
    lineWidth: 4,
    strokeStyle: paper,
  });
  // Each has its half, arrow and some room between them taken off.
  const [left, right] = axis.map((words) => cut(target, words, (ends[1] - ends[0]) / 2 - ARROW_PX));
  ["← " + left, right + " →"].forEach((words, end) => {
    target.textAlign = end ? "right" : "left";
    target.strokeText(words, ends[end], y);
    target.fillStyle = ink;
    target.fillText(words, ends[end], y);
  });
};
