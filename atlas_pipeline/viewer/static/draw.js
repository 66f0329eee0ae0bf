// Drawing of the map on its canvas, whenever something changed.

import { drawBeside } from "./beside.js";
import { drawFound, drawPlaces } from "./brush.js";
import { cameraOf, toMap } from "./camera.js";
import { cellAt, chooseCell, chosenCell, gridShown } from "./cells.js";
import { fitAgain } from "./fitting.js";
import { drawGlide, isGliding } from "./glide.js";
import { coveredBoxes, drawLabels } from "./labels.js";
import { drawLinked, pointAtCell } from "./linked.js";
import { drawAxis, drawFrames, outlineCell } from "./marks.js";
import { drawMinimap } from "./minimap.js";
import { coloursOver, dimmingOver, filterOver } from "./overlay.js";
import { byId } from "./page.js";
import { isComplete, loadWanted, overviewOf, SHEET, sheetOf } from "./sheets.js";
import { set, state } from "./state.js";
import { showTip } from "./tip.js";
import { drawTrace } from "./trace.js";

let dirty = true;
let minRatio = 1; // smallest number of pixels per CSS pixel for which sheets are requested
let hovered = null;
let pointer = null;

export const redraw = () => (dirty = true);

let themeColours = null;
/** The colours of the page's style for use on the canvas: {paper, ink, muted, line, accent, mark}. */
export const theme = () => {
  if (!themeColours) {
    const style = getComputedStyle(document.documentElement);
    const names = ["paper", "ink", "muted", "line", "accent", "mark"];
    themeColours = Object.fromEntries(
      names.map((name) => [name, style.getPropertyValue("--" + name).trim()]),
    );
  }
  return themeColours;
};
export const themeChanged = () => {
  themeColours = null;
  redraw();
};

/** Call take(cell, x, y, px) for every visible cell, with its top left corner and side on the canvas. */
export const eachVisible = (grid, { left, top, width, height, scale }, take) => {
  const px = scale / grid.size,
    last = grid.size - 1;
  const from = (offset) => Math.max(0, Math.floor(-offset / px));
  const to = (offset, length) => Math.min(last, Math.floor((length - offset) / px));
  for (let row = from(top); row <= to(top, height); row++) {
    for (let col = from(left); col <= to(left, width); col++) {
      const cell = grid.at[row * grid.size + col];
      if (cell >= 0) take(cell, left + col * px, top + row * px, px);
    }
  }
};

/** Draw the icons of a grid, from its sheets or from the small picture of it. */
export function drawSheets(target, grid, camera, ratio) {
  const { crops, full } = state,
    kind = crops && grid.cropPx ? "crops" : "icons";
  const { left, top, width, height, scale } = camera,
    side = scale / grid.size,
    onScreen = side * ratio;
  const drawWhole = () => {
    const whole = kind === "icons" && overviewOf(grid, full);
    if (whole) target.drawImage(whole, left, top, scale, scale);
  };
  if (kind === "icons" && onScreen <= grid.overviewPx * 1.15) return drawWhole();
  const sheets = [];
  let isWhole = true;
  const px = kind === "icons" ? grid.px : grid.cropPx,
    span = side * SHEET;
  const last = Math.ceil(grid.size / SHEET) - 1,
    within = (at) => Math.min(last, Math.max(0, at));
  for (
    let band = within(Math.floor(-top / span));
    band <= within(Math.floor((height - top) / span));
    band++
  ) {
    for (
      let column = within(Math.floor(-left / span));
      column <= within(Math.floor((width - left) / span));
      column++
    ) {
      const x = left + column * span,
        y = top + band * span;
      const far = Math.hypot(x + span / 2 - width / 2, y + span / 2 - height / 2);
      // Use the small copies while they are large enough, and until the large ones are loaded.
      const enough = px > 24 && onScreen <= 24 * 1.15;
      const share = px >= 64 && onScreen <= (px / 2) * 1.15 ? 0.5 : 1;
      const large = enough ? null : sheetOf(grid, kind, band, column, { full, far, share });
      const sheet = large ?? (px > 24 ? sheetOf(grid, kind, band, column, { low: true, full, far }) : null);
      if (sheet) sheets.push([sheet, x, y]);
      else isWhole &&= !grid.sheets.has(`${band}-${column}`);
    }
  }
  // Draw the small picture of the whole grid only while sheets are loading: enlarging it is slow.
  if (!isWhole) drawWhole();
  for (const [sheet, x, y] of sheets) target.drawImage(sheet, x, y, span, span);
}

function drawOver(target, grid, { left, top, scale }, picture) {
  if (!picture) return;
  target.imageSmoothingEnabled = false;
  target.drawImage(picture, left, top, scale, scale);
  target.imageSmoothingEnabled = true;
}

/**
 * Draw the map with everything on it onto a context, for the screen or for a saved PNG. quality: of enlarged
 * icons; "high" takes too long for a map that moves.
 */
export const paint = (target, camera, ratio, quality = "low") => {
  const { paper, ink, accent } = theme(),
    grid = gridShown();
  target.imageSmoothingQuality = quality;
  target.fillStyle = paper;
  target.fillRect(0, 0, camera.width, camera.height);
  if (grid) {
    drawSheets(target, grid, camera, ratio);
    drawOver(target, grid, camera, coloursOver(grid));
    const dimming = dimmingOver(grid);
    drawOver(target, grid, camera, dimming);
    const filtered = filterOver(grid);
    drawOver(target, grid, camera, filtered);
    if (dimming || filtered) drawFrames(target, grid, camera);
  } else {
    drawPlaces(target, camera);
  }
  drawFound(target, camera);
  if (grid && hovered?.grid === grid) outlineCell(target, grid, hovered.cell, camera, ink, 1);
  const chosen = chosenCell();
  if (chosen) outlineCell(target, chosen.grid, chosen.cell, camera, accent, 2.5);
  if (grid) drawLabels(target, grid, camera);
  // Over the names, which may lie anywhere in a region.
  drawLinked(target, camera, state.layer, grid);
  drawAxis(target, camera);
  drawGlide(target, camera);
  drawTrace(target, camera);
};

function showPointed() {
  const [x, y, ...screen] = pointer ?? [null],
    grid = pointer && !isGliding() ? gridShown() : null;
  const cell = grid ? cellAt(grid, ...toMap(x, y)) : -1;
  if (cell !== (hovered?.cell ?? -1)) redraw();
  hovered = cell < 0 ? null : { grid, cell };
  pointAtCell(state.layer, hovered);
  showTip(grid, cell, ...screen);
}

const REST_MS = 120; // time without a move after which enlarged icons are drawn smoothly
let lastCamera = {};
let resting = 0;

/** Whether the map has moved since the last frame; if so, it is drawn again once it rests. */
function isMoved(camera) {
  const moved = Object.keys(camera).some((name) => camera[name] !== lastCamera[name]);
  lastCamera = camera;
  if (moved) {
    clearTimeout(resting);
    resting = setTimeout(redraw, REST_MS);
  }
  return moved;
}

function drawFrame(context) {
  const { canvas } = context;
  if (dirty && canvas.clientWidth) {
    dirty = false;
    const camera = cameraOf(),
      isMoving = isMoved(camera);
    const ratio = devicePixelRatio || 1,
      width = Math.round(canvas.clientWidth * ratio),
      height = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    // The map may have moved while the pointer stayed in place.
    if (pointer) showPointed();
    paint(
      context,
      { ...camera, covered: coveredBoxes() },
      Math.max(ratio, minRatio),
      isMoving ? "low" : "high",
    );
    drawMinimap();
    drawBeside(ratio);
    loadWanted();
  }
  requestAnimationFrame(() => drawFrame(context));
}

const nextFrame = () => new Promise(requestAnimationFrame);

/** Wait until everything visible is loaded, and shown, for this number of pixels per CSS pixel. */
export const detailLoaded = async (ratio) => {
  minRatio = ratio;
  do {
    redraw();
    await nextFrame();
    await nextFrame();
  } while (!isComplete());
  minRatio = 1;
};

/** Take the pointer's position on the canvas and the screen; x is null if it left the canvas. */
export const pointAt = (x, y, screenX, screenY) => {
  pointer = x === null ? null : [x, y, screenX, screenY];
  showPointed();
};

/** Choose the cell at a point of the unit square; without a cell there, clear the choice. */
export const pickAt = (x, y) => {
  const grid = gridShown();
  if (!grid) return;
  const cell = cellAt(grid, x, y);
  if (cell < 0) set({ cell: "", image: "" });
  else chooseCell(grid, cell);
};

export const startDrawing = () => {
  const canvas = byId("map");
  const sizes = new ResizeObserver(() => {
    fitAgain();
    redraw();
  });
  sizes.observe(canvas);
  // The panel grows on a phone as its patches arrive.
  sizes.observe(byId("detail"));
  requestAnimationFrame(() => drawFrame(canvas.getContext("2d")));
};
