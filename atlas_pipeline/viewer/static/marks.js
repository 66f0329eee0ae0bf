// Frames and axis labels that are drawn over the icons.

import { eachVisible, theme } from "./draw.js";
import { state, viewShown } from "./state.js";

const FRAMES_PX = 9; // size of cells on the screen from which dimmed icons have frames
const ARROW_PX = 30; // width of an axis arrow and the room next to its label

/** Draw a frame for every icon, so that the map remains visible when a class is highlighted. */
export const drawFrames = (target, grid, camera) => {
  if (camera.scale / grid.size < FRAMES_PX) return;
  const path = new Path2D();
  eachVisible(grid, camera, (cell, x, y, px) => {
    const side = state.full ? px : (px * grid.side[cell]) / 255,
      margin = (px - side) / 2;
    path.rect(x + margin, y + margin, side, side);
  });
  target.strokeStyle = theme().line;
  target.lineWidth = 1;
  target.stroke(path);
};

/** Draw a frame around one cell. */
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

/** Words truncated to a width in pixels, with an ellipsis. */
function truncated(target, words, width) {
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

/** Draw the class names at both ends of a comparison's axis. */
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
  // Each name has half of the width, minus its arrow and some room in between.
  const [left, right] = axis.map((words) => truncated(target, words, (ends[1] - ends[0]) / 2 - ARROW_PX));
  ["← " + left, right + " →"].forEach((words, end) => {
    target.textAlign = end ? "right" : "left";
    target.strokeText(words, ends[end], y);
    target.fillStyle = ink;
    target.fillText(words, ends[end], y);
  });
};
