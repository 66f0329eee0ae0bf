// The position of the map on the screen, and its movement. Units: CSS pixels, and the unit square of the map.

import { byId } from "./page.js";
import { gridShown } from "./cells.js";
import { PLACE, set, state, viewShown } from "./state.js";

export const SQUARE = { left: 0, top: 0, right: 1, bottom: 1 }; // the whole map
const MARGIN = 0.94; // side of the map at zoom 1, as a share of the canvas's shorter side

/** The camera of a canvas for a place {x, y, z}: {width, height, scale, left, top}; see cameraOf. */
export const cameraAt = ({ x, y, z }, width, height) => {
  const scale = Math.min(width, height) * MARGIN * z;
  return { width, height, scale, left: width / 2 - x * scale, top: height / 2 - y * scale };
};

/** The camera of a state: the map is `scale` pixels wide, and its top left corner is at left, top. */
export const cameraOf = (place = state) => {
  const { clientWidth, clientHeight } = byId("map");
  return cameraAt(place, clientWidth, clientHeight);
};

/** Width and height of the part of the map, from its top left corner, that the open panel leaves uncovered. */
export const uncovered = () => {
  const { width, height } = cameraOf(),
    map = byId("map").getBoundingClientRect(),
    panel = byId("detail").getBoundingClientRect();
  // The panel covers the bottom of the map on a phone, and its right side elsewhere.
  return [
    panel.left > map.left ? Math.min(width, panel.left - map.left) : width,
    panel.top > map.top ? Math.min(height, panel.top - map.top) : height,
  ];
};

/** A place, moved if the panel would cover its middle, so that this lies in the middle of what is seen. */
export const besidePanel = (place) => {
  const { width, height, scale } = cameraOf(place),
    [right, bottom] = uncovered();
  if (width / 2 < right && height / 2 < bottom) return place;
  return { ...place, x: place.x + (width - right) / 2 / scale, y: place.y + (height - bottom) / 2 / scale };
};

/** A point of the canvas -> the point of the unit square shown there. */
export const toMap = (x, y, { left, top, scale } = cameraOf()) => [(x - left) / scale, (y - top) / scale];

/** The place {x, y, z} after zooming to z with the map point at canvas point x, y kept in position. */
export const zoomedAt = (place, z, x, y, width, height) => {
  const [mapX, mapY] = toMap(x, y, cameraAt(place, width, height));
  const { scale } = cameraAt({ ...place, z }, width, height);
  return { z, x: mapX - (x - width / 2) / scale, y: mapY - (y - height / 2) / scale };
};

/** Zoom by a factor, keeping the point at x, y (CSS pixels; default: the centre) in position. */
export const zoomBy = (factor, x, y) => {
  const { width, height } = cameraOf();
  const z = Math.min(largestZoom(), Math.max(0.5, state.z * factor));
  set(zoomedAt(state, z, x ?? width / 2, y ?? height / 2, width, height));
};

export const panBy = (right, down) => {
  const { scale } = cameraOf();
  set({ x: state.x + right / scale, y: state.y + down / scale });
};

/** The zoom at which an icon of the finest grid is 320 pixels wide. */
export const largestZoom = () => {
  const { width, height } = cameraOf();
  const finest = Math.max(20, ...viewShown().grids.map((grid) => grid.size));
  return (320 * finest) / (Math.min(width, height) * MARGIN || 1);
};

let animation = null; // {to: target place, at: the state that it set last, request: its next frame}

/** Whether the system settings ask for reduced motion. */
export const prefersReducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Move smoothly to a place; `target` has any of x, y and z. */
export const flyTo = (target) => {
  stopAnimation();
  const from = state,
    start = performance.now();
  const to = { x: from.x, y: from.y, z: from.z, ...target };
  if (prefersReducedMotion()) return void set(to);
  const step = (now) => {
    // Stop if the map was moved in the meantime by the wheel, a key, the minimap or a link.
    if (!isAnimating()) return void stopAnimation();
    const share = Math.min(1, (now - start) / 350),
      eased = 1 - (1 - share) ** 3;
    const between = (name) => from[name] + (to[name] - from[name]) * eased;
    set({ x: between("x"), y: between("y"), z: from.z * (to.z / from.z) ** eased });
    if (share < 1) animation = { to, at: state, request: requestAnimationFrame(step) };
    else animation = null;
  };
  animation = { to, at: from, request: requestAnimationFrame(step) };
};

/** Stop an animated move at the present place. */
export function stopAnimation() {
  if (animation) cancelAnimationFrame(animation.request);
  animation = null;
}

/** Whether an animated move is in progress, and nothing else has moved the map. */
export const isAnimating = () =>
  animation !== null && PLACE.every((name) => state[name] === animation.at[name]);

/** Jump to the end of an animated move that is in progress. */
export const finishAnimation = () => {
  const to = isAnimating() ? animation.to : null;
  stopAnimation();
  if (to) set(to);
};

/** Whether all cells of the shown grid are on the screen. */
export const isWholeSeen = ({ left, top, width, height, scale } = cameraOf()) => {
  const box = gridShown()?.extent ?? SQUARE;
  return (
    left + box.left * scale >= -1 &&
    top + box.top * scale >= -1 &&
    left + box.right * scale <= width + 1 &&
    top + box.bottom * scale <= height + 1
  );
};
