// The place from which the whole map is seen, beside the panel and off the controls that lie on the map.

import { cameraAt, cameraOf, flyTo, isAnimating, SQUARE, toMap, uncovered } from "./camera.js";
import { gridShown } from "./cells.js";
import { byId } from "./page.js";
import { coverage } from "./placing.js";
import { isPlaced, PLACE, set, state } from "./state.js";

const CLEAR_PX = 10; // between the cells and the controls
const LEAST_PX = 80; // of the map beside the panel; if less is left, the map lies below the panel

/** The place {x, y, z} at which the cells of the shown grid, all together, just fit into a window. */
export const fitted = ({ left, top, right, bottom }, width, height) => ({
  x: (left + right) / 2,
  y: (top + bottom) / 2,
  z: Math.min(width / (right - left), height / (bottom - top)) / Math.min(width, height),
});

/** The place at which the cells fit into an area of the window, as near to the window's middle as that allows. */
export const fittedWithin = (extent, area, width, height) => {
  const [w, h] = [extent.right - extent.left, extent.bottom - extent.top];
  const z = Math.min((area.right - area.left) / w, (area.bottom - area.top) / h) / Math.min(width, height),
    { x, y } = fitted(extent, width, height),
    { scale } = cameraAt({ x, y, z }, width, height);
  const middle = (whole, low, high, side) =>
    Math.min(high - (side * scale) / 2, Math.max(low + (side * scale) / 2, whole / 2));
  return {
    x: x + (width / 2 - middle(width, area.left, area.right, w)) / scale,
    y: y + (height / 2 - middle(height, area.top, area.bottom, h)) / scale,
    z,
  };
};

/** What lies on the map: [{box, areas: the bounds of the map beside it, and below or above it}], in CSS pixels. */
function controls(width) {
  const zooms = byId("zooms"),
    legend = byId("legend"),
    found = [];
  if (zooms.offsetWidth) {
    // They lie in the upper right corner, as far from the right as from the top; an open panel moves them.
    const right = width - zooms.offsetTop,
      left = right - zooms.offsetWidth,
      bottom = zooms.offsetTop + zooms.offsetHeight;
    const areas = [{ right: left - CLEAR_PX }, { top: bottom + CLEAR_PX }];
    found.push({ box: { left, top: zooms.offsetTop, right, bottom }, areas });
  }
  if (legend.offsetWidth) {
    const { offsetLeft: left, offsetTop: top } = legend,
      right = left + legend.offsetWidth;
    const areas = [{ left: right + CLEAR_PX }, { bottom: top - CLEAR_PX }];
    found.push({ box: { left, top, right, bottom: top + legend.offsetHeight }, areas });
  }
  return found;
}

/** Whether a box of the screen, with the free space around it, lies on a cell of the grid at this place. */
function isOnCells(grid, { left, top, right, bottom }, camera) {
  const [l, t] = toMap(left - CLEAR_PX, top - CLEAR_PX, camera),
    [r, b] = toMap(right + CLEAR_PX, bottom + CLEAR_PX, camera);
  return coverage(grid, { left: l, top: t, right: r, bottom: b }) > 1e-9;
}

/** The place of the whole map at which it is largest with no cell under a control. */
function clearOfControls(extent, width, height) {
  const grid = state.layer ? gridShown() : null,
    there = grid?.at ? controls(width) : [];
  let areas = [{ left: 0, top: 0, right: width, bottom: height }];
  for (const { areas: beside } of there)
    areas = [{}, ...beside].flatMap((bounds) => areas.map((area) => ({ ...area, ...bounds })));
  const places = areas
    .filter(({ left, top, right, bottom }) => right - left > CLEAR_PX && bottom - top > CLEAR_PX)
    .map((area) => fittedWithin(extent, area, width, height))
    .sort((a, b) => b.z - a.z);
  const isClear = (place) =>
    there.every(({ box }) => !isOnCells(grid, box, cameraAt(place, width, height)));
  return places.find(isClear) ?? places[0];
}

/** A place in a smaller window, in the upper left corner of the map's, as the place that shows the same there. */
export const inWhole = (place, area, whole) => {
  const { left, top, scale } = cameraAt(place, ...area),
    z = (place.z * Math.min(...area)) / Math.min(...whole);
  return { x: (whole[0] / 2 - left) / scale, y: (whole[1] / 2 - top) / scale, z };
};

let isPanelSpared = false; // whether the map is fitted to what the open panel leaves of the window

/** The place from which the whole map is seen; the unit square before a grid is loaded. */
export const homePlace = () => {
  const { width, height } = cameraOf(),
    extent = (state.layer && gridShown()?.extent) || SQUARE;
  if (!width || !height) return fitted(extent, 1, 1);
  const left = isPanelSpared ? uncovered() : [0, 0],
    area = Math.min(...left) < LEAST_PX ? [width, height] : left;
  return inWhole(clearOfControls(extent, ...area), area, [width, height]);
};

const isPanelOpen = () => !byId("detail").hidden;
const isAt = (place) => PLACE.every((name) => Math.abs(state[name] - place[name]) < 1e-6);
let home = null; // the place to which the map was fitted last
let isHeld = false;

/** Keep the map where it is, or let it be fitted again. */
export const holdPlace = (on) => (isHeld = on);

/** Fit the map again if it was fitted before and not moved since: to another window, layer, grid or legend. */
export const fitAgain = () => {
  if (isHeld || isAnimating() || !(home ? isAt(home) : !isPlaced) || !gridShown()) return;
  // A panel that is there from the start, by the address, leaves its part of the window to the map.
  if (!home) isPanelSpared = isPanelOpen();
  home = homePlace();
  set(home);
};

export const goHome = () => {
  isPanelSpared = isPanelOpen();
  home = homePlace();
  flyTo(home);
};

/** Fit a whole map that lies beside the panel to the window, after the panel was closed. */
export const panelClosed = () => {
  if (!isPanelSpared) return;
  if (home && isAt(home)) goHome();
  isPanelSpared = false;
};
