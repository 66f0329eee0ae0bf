// The transition between layers: the icons fade out, dots for the activations of the same images move from
// their old to their new places, and the icons of the other layer fade in.

import { cameraOf, prefersReducedMotion } from "./camera.js";
import { redraw, theme } from "./draw.js";
import { isLit, placesOf } from "./found.js";
import { byId } from "./page.js";

const MAX_DOTS = 4000;
const GLIDE_MS = 1400;
// Times within the transition, from 0 to 1.
const FADED = 0.25; // the old icons have faded out
const MOVED = [0.12, 0.78]; // the dots start and stop moving
const COMES = 0.72; // the new icons start to fade in
let glide = null; // {old: picture to fade from, camera: its camera, pairs, start}

/** A copy of the map's canvas, from which the transition fades. */
function snapshot() {
  const map = byId("map");
  if (!map.width || !map.height) return null;
  const copy = new OffscreenCanvas(map.width, map.height);
  copy.getContext("2d").drawImage(map, 0, 0);
  return copy;
}

/** The moving dots, at most MAX_DOTS plus the selected ones: [[old x, old y, new x, new y, isSelected]]. */
async function pairsOf(from, to) {
  const [before, after] = await Promise.all([placesOf(from.layer, from.view), placesOf(to.layer, to.view)]);
  const at = new Map();
  before.number.forEach((number, n) => at.set(number, n));
  const every = Math.max(1, Math.ceil(after.number.length / MAX_DOTS)),
    pairs = [];
  after.number.forEach((number, n) => {
    const old = at.get(number),
      lit = isLit(number);
    if (old === undefined || !(lit || n % every === 0)) return;
    pairs.push([before.x[old], before.y[old], after.x[n], after.y[n], lit]);
  });
  // Draw the selected dots last, so that they lie over the others.
  return pairs.sort((a, b) => a[4] - b[4]);
}

/** Start the transition between two states, unless the user prefers reduced motion. */
export const startGlide = async (from, to) => {
  glide = null;
  if (prefersReducedMotion() || (from.layer === to.layer && from.view === to.view)) return;
  const mine = { old: snapshot(), camera: cameraOf(from), pairs: null, start: 0 };
  glide = mine;
  try {
    mine.pairs = await pairsOf(from, to);
  } catch {
    // If the places cannot be loaded, show the other layer without a transition.
    if (glide === mine) glide = null;
  }
  mine.start = performance.now();
  redraw();
};

const ramp = (share, from, to) => Math.min(1, Math.max(0, (share - from) / (to - from)));

function drawPairs(target, camera, share) {
  const { camera: before, pairs } = glide,
    moved = ramp(share, ...MOVED),
    eased = moved * moved * (3 - 2 * moved);
  const between = (from, to) => from + (to - from) * eased;
  const { muted, accent } = theme();
  for (const [x0, y0, x1, y1, lit] of pairs) {
    const x = between(before.left + x0 * before.scale, camera.left + x1 * camera.scale),
      y = between(before.top + y0 * before.scale, camera.top + y1 * camera.scale);
    const side = lit ? 5 : 2.5;
    target.fillStyle = lit ? accent : muted;
    target.fillRect(x - side / 2, y - side / 2, side, side);
  }
}

/** Draw the present state of the transition over the new map. */
export const drawGlide = (target, camera) => {
  if (!glide) return;
  const share = glide.pairs ? (performance.now() - glide.start) / GLIDE_MS : 0;
  if (share >= 1) return void (glide = null);
  const { width, height } = camera;
  target.fillStyle = theme().paper;
  target.globalAlpha = 1 - ramp(share, COMES, 1);
  target.fillRect(0, 0, width, height);
  if (glide.old && share < FADED) {
    target.globalAlpha = 1 - ramp(share, 0, FADED);
    target.drawImage(glide.old, 0, 0, width, height);
  }
  target.globalAlpha = Math.min(ramp(share, 0, FADED), 1 - ramp(share, COMES, 1));
  if (glide.pairs) drawPairs(target, camera, share);
  target.globalAlpha = 1;
  requestAnimationFrame(redraw);
};

/** Whether a transition is in progress. */
export const isGliding = () => glide !== null;
