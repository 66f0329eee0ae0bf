// The names on the map: of regions, and of the strongest cells of a highlighted class.

import { theme } from "./draw.js";
import { litNames } from "./lit.js";
import { namesAt, viewNames } from "./names.js";
import { byId } from "./page.js";
import { placeNames } from "./placing.js";
import { state } from "./state.js";

const FONT = '600 13px system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif';
const LINE_PX = 16; // height of a line in CSS pixels
const PAD = 3; // free space around a name
const LEAST_SIDE_PX = 44; // side of a region on the screen from which it has a name, which matters on a phone
const LEVELS = 4; // zoom levels per factor of two; names are placed once for each level
const placed = new Map(); // placed names by view, grid and zoom level

/** The size of a name in CSS pixels: [width, height]. context: with the font of the names. */
const sizeOfName = (context, lines) => [
  Math.max(...lines.map((line) => context.measureText(line).width)) + 2 * PAD,
  lines.length * LINE_PX + 2 * PAD,
];

/** The regions' names with their boxes in units of the map, computed once for each zoom level. */
function regionNames(context, grid, camera) {
  const all = viewNames();
  if (!all) return [];
  const level = Math.round(Math.log2(camera.scale) * LEVELS),
    zoom = Math.round(Math.log2(state.z) * LEVELS),
    isWide = camera.width > camera.height;
  const name = `${state.layer}/${state.view}/${grid.size}#${level}#${zoom}#${isWide}`;
  if (!placed.has(name)) {
    const scale = 2 ** (level / LEVELS);
    const wanted = namesAt(all, 2 ** (zoom / LEVELS))
      .filter(({ side }) => side * scale >= LEAST_SIDE_PX)
      .map((one) => ({ ...one, size: sizeOfName(context, one.lines) }));
    placed.set(name, placeNames(wanted, grid, scale, isWide));
  }
  if (placed.size > 100) placed.delete(placed.keys().next().value);
  return placed.get(name);
}

function drawLeader(context, x, y, box) {
  const endX = Math.min(box.right, Math.max(box.left, x)),
    endY = Math.min(box.bottom, Math.max(box.top, y));
  if (endX === x && endY === y) return;
  const { ink, paper } = theme(),
    line = new Path2D();
  line.moveTo(x, y);
  line.lineTo(endX, endY);
  for (const [colour, width, radius] of [
    [paper, 3.5, 4],
    [ink, 1, 2.2],
  ]) {
    Object.assign(context, { strokeStyle: colour, fillStyle: colour, lineWidth: width });
    context.stroke(line);
    context.beginPath();
    context.arc(x, y, radius, 0, 7);
    context.fill();
  }
}

function drawWords(context, lines, x, top, colour) {
  const { paper } = theme();
  Object.assign(context, { strokeStyle: paper, lineWidth: 4, fillStyle: colour });
  lines.forEach((line, at) => {
    const y = top + PAD + (at + 0.5) * LINE_PX;
    context.strokeText(line, x, y);
    context.fillText(line, x, y);
  });
}

const COVERS = ["zooms", "minimap", "open-side", "legend", "status"];
const COVER_MS = 200;
let covers = { at: -Infinity, boxes: [] };

/** The boxes of the controls that lie on the map, in CSS pixels of it; looked up a few times a second. */
export const coveredBoxes = () => {
  const now = Date.now();
  if (now - covers.at < COVER_MS) return covers.boxes;
  const map = byId("map").getBoundingClientRect();
  const boxes = COVERS.map((id) => byId(id).getBoundingClientRect())
    .filter(({ width }) => width)
    .map(({ left, right, top, bottom }) => ({
      left: left - map.left,
      right: right - map.left,
      top: top - map.top,
      bottom: bottom - map.top,
    }));
  covers = { at: now, boxes };
  return boxes;
};

/** The middle of a name along one axis, moved so that no edge of the map cuts it; NaN if it lies outside. */
const uncut = (middle, size, length) =>
  middle < 0 || middle > length ? NaN : Math.max(size / 2, Math.min(length - size / 2, middle));

/**
 * Draw the names; a name that would overlap an earlier one, or a box in camera.covered, is left out. Returns the
 * words drawn.
 */
export const drawLabels = (context, grid, camera) => {
  const { ink, muted, accent } = theme(),
    { left, top, scale, width, height } = camera;
  Object.assign(context, { font: FONT, textAlign: "center", textBaseline: "middle", lineJoin: "round" });
  const taken = [...(camera.covered ?? [])],
    drawn = [];
  const isFree = (box) =>
    !taken.some((t) => t.left < box.right && box.left < t.right && t.top < box.bottom && box.top < t.bottom);
  const draw = ({ lines, x, y, rows = [y], anchor, size }, colour) => {
    const [w, h] = size ?? sizeOfName(context, lines),
      px = uncut(left + x * scale, w, width);
    const boxes = rows
      .map((row) => uncut(top + row * scale, h, height))
      .map((py) => ({ left: px - w / 2, right: px + w / 2, top: py - h / 2, bottom: py + h / 2 }));
    const box = boxes.find((one) => !Number.isNaN(one.left + one.top) && isFree(one));
    if (!box) return;
    taken.push(box);
    drawn.push(lines.join(" "));
    if (anchor) drawLeader(context, left + anchor[0] * scale, top + anchor[1] * scale, box);
    drawWords(context, lines, px, box.top, colour);
  };
  if (!state.labels) return drawn;
  for (const name of litNames(grid, scale)) draw(name, accent);
  for (const name of regionNames(context, grid, camera)) draw(name, state.lit ? muted : ink);
  return drawn;
};
