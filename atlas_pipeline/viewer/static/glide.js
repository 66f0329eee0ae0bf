// From layer to layer: the icons fade, the activations of the same images glide from where they lay to where
// they lie, and the other layer's icons come.

import { cameraOf, isStill } from "./camera.js";
import { redraw, theme } from "./draw.js";
import { isLit, placesOf } from "./found.js";
import { byId } from "./page.js";

const MOST_GLIDING = 4000;
const MILLISECONDS = 1400;
// Shares of that time: the old icons are gone, the activations move, the new icons come.
const FADED = 0.25;
const MOVED = [0.12, 0.78];
const COMES = 0.72;
let glide = null;

/** What is on the map now, to fade from. */
function snapshot() {
  const map = byId("map");
  if (!map.width || !map.height) return null;
  const copy = new OffscreenCanvas(map.width, map.height);
  copy.getContext("2d").drawImage(map, 0, 0);
  return copy;
}

async function pairsOf(from, to) {
  const [before, after] = await Promise.all([placesOf(from.layer, from.view), placesOf(to.layer, to.view)]);
  const at = new Map();
  before.number.forEach((number, n) => at.set(number, n));
  const every = Math.max(1, Math.ceil(after.number.length / MOST_GLIDING)),
    pairs = [];
  after.number.forEach((number, n) => {
    const old = at.get(number),
      lit = isLit(number);
    if (old === undefined || !(lit || n % every === 0)) return;
    pairs.push([before.x[old], before.y[old], after.x[n], after.y[n], lit]);
  });
  // What is lit up lies over the others.
  return pairs.sort((a, b) => a[4] - b[4]);
}

/** Begin between two states; nothing where motion is not wanted. */
export const startGlide = async (from, to) => {
  glide = null;
  if (isStill() || (from.layer === to.layer && from.view === to.view)) return;
  const mine = { old: snapshot(), camera: cameraOf(from), pairs: null, start: 0 };
  glide = mine;
  try {
    mine.pairs = await pairsOf(from, to);
  } catch {
    // Without its places a layer is simply shown.
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

/** The activations on their way, between the map that goes and the one that comes. */
export const drawGlide = (target, camera) => {
  if (!glide) return;
  const share = glide.pairs ? (performance.now() - glide.start) / MILLISECONDS : 0;
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
  // The next frame goes on.
  requestAnimationFrame(redraw);
};

/** Whether a glide is under way. */
export const isGliding = () => glide !== null;
