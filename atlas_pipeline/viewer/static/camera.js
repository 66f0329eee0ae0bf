// Where the map is on the screen, and how it moves. Units: CSS pixels, and the unit square.

import { byId } from "./page.js";
import { set, state, viewShown } from "./state.js";

const MARGIN = 0.94; // of the shorter side: so large is the whole map at zoom 1

/** Where a canvas of that size shows the map at a place {x, y, z}: {width, height, scale, left, top}. */
export const cameraAt = ({ x, y, z }, width, height) => {
  const scale = Math.min(width, height) * MARGIN * z;
  return { width, height, scale, left: width / 2 - x * scale, top: height / 2 - y * scale };
};

/** The camera of a state: the map is `scale` pixels wide, its corner at left, top. */
export const cameraOf = (place = state) => {
  const { clientWidth, clientHeight } = byId("map");
  return cameraAt(place, clientWidth, clientHeight);
};

/** A point of the canvas -> of the unit square. */
export const toMap = (x, y, { left, top, scale } = cameraOf()) => [(x - left) / scale, (y - top) / scale];

/** A place zoomed to z; the point of the canvas that is under x, y stays there. */
export const zoomedAt = (place, z, x, y, width, height) => {
  const [mapX, mapY] = toMap(x, y, cameraAt(place, width, height));
  const { scale } = cameraAt({ ...place, z }, width, height);
  return { z, x: mapX - (x - width / 2) / scale, y: mapY - (y - height / 2) / scale };
};

/** Zoom by a factor; the point under x, y (CSS pixels; none: the middle) stays where it is. */
export const zoomBy = (factor, x, y) => {
  const { width, height } = cameraOf();
  const z = Math.min(largestZoom(), Math.max(0.5, state.z * factor));
  set(zoomedAt(state, z, x ?? width / 2, y ?? height / 2, width, height));
};

export const panBy = (right, down) => {
  const { scale } = cameraOf();
  set({ x: state.x + right / scale, y: state.y + down / scale });
};

/** So far that one icon of the finest grid is 320 pixels wide. */
export const largestZoom = () => {
  const { width, height } = cameraOf();
  const finest = Math.max(20, ...viewShown().grids.map((grid) => grid.size));
  return (320 * finest) / (Math.min(width, height) * MARGIN || 1);
};

let flight = null; // {to, at: the place that it set last, request}
const PLACE = ["x", "y", "z"];

/** Whether the system asks for less motion. */
export const isStill = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Go to a place smoothly: {x, y, z}, any of them. */
export const flyTo = (target) => {
  stopFlight();
  const from = state,
    start = performance.now();
  const to = { x: from.x, y: from.y, z: from.z, ...target };
  if (isStill()) return void set(to);
  const step = (now) => {
    // Whoever moves the map meanwhile has the last word: wheel, keys, minimap, a link.
    if (!isFlying()) return void stopFlight();
    const share = Math.min(1, (now - start) / 350),
      eased = 1 - (1 - share) ** 3;
    const between = (name) => from[name] + (to[name] - from[name]) * eased;
    set({ x: between("x"), y: between("y"), z: from.z * (to.z / from.z) ** eased });
    if (share < 1) flight = { to, at: state, request: requestAnimationFrame(step) };
    else flight = null;
  };
  flight = { to, at: from, request: requestAnimationFrame(step) };
};

/** Stay where it is. */
export function stopFlight() {
  if (flight) cancelAnimationFrame(flight.request);
  flight = null;
}

/** Whether the map is on its way, and nobody has moved it since. */
export const isFlying = () => flight !== null && PLACE.every((name) => state[name] === flight.at[name]);

/** Be there at once. */
export const land = () => {
  const to = isFlying() ? flight.to : null;
  stopFlight();
  if (to) set(to);
};
export const goHome = () => flyTo({ x: 0.5, y: 0.5, z: 1 });
