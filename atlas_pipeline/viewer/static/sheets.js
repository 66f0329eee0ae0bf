// Sheets of 16 x 16 pictures. Visible sheets are loaded, resized once, and kept within a limit of memory.

import { groundUnder } from "./density.js";
import { decodedImage, failureSet, fileCache, loadFile } from "./data.js";
import { redraw } from "./draw.js";
import { warn } from "./page.js";

export const SHEET = 16; // pictures along a side of a sheet
const MAX_BYTES = 100e6;
const MAX_LOADS = 6;
const drawn = new Map(); // path -> {bitmap, frame of last use}; the least recently used first
const loading = new Set();
const failedSheets = failureSet();
let bytes = 0;
let frame = 0;
let lacking = 0;
let wanted = [];

const FADE = 0.09; // share of half an icon's side over which it fades out at its edges
const ROUNDNESS = 9; // exponent of the superellipse that is an icon's border; both as in sprites.py
const softened = new Map(); // side -> picture with the opacity of an icon of this side

/** An icon's opacity with rounded, fading edges, as a picture. */
function softEdges(side) {
  if (softened.has(side)) return softened.get(side);
  const canvas = new OffscreenCanvas(side, side),
    context = canvas.getContext("2d"),
    image = context.createImageData(side, side);
  const along = Array.from({ length: side }, (_, at) => Math.abs(((at + 0.5) / side) * 2 - 1) ** ROUNDNESS);
  for (let at = 0; at < side * side; at++) {
    const far = (along[at % side] + along[Math.floor(at / side)]) ** (1 / ROUNDNESS);
    image.data[4 * at + 3] = 255 * Math.min(1, Math.max(0, (1 - far) / FADE));
  }
  context.putImageData(image, 0, 0);
  softened.set(side, canvas);
  return canvas;
}

/** A sheet with icons sized by density, or full, scaled to a `share` of its own size. */
function arranged(image, grid, band, column, { full, share }) {
  const from = image.width / SHEET,
    px = from * share;
  const canvas = new OffscreenCanvas(px * SHEET, px * SHEET);
  const context = canvas.getContext("2d"),
    edges = new OffscreenCanvas(px * SHEET, px * SHEET),
    opacity = edges.getContext("2d");
  context.imageSmoothingQuality = "high";
  for (let row = band * SHEET; row < Math.min(grid.size, (band + 1) * SHEET); row++) {
    for (let col = column * SHEET; col < Math.min(grid.size, (column + 1) * SHEET); col++) {
      const cell = grid.at[row * grid.size + col];
      if (cell < 0) continue;
      const x = col % SHEET,
        y = row % SHEET,
        side = full ? px : (grid.side[cell] / 255) * px;
      const [left, top] = [x, y].map((at) => at * px + (px - side) / 2);
      context.drawImage(image, x * from, y * from, from, from, left, top, side, side);
      opacity.drawImage(softEdges(px), left, top, side, side);
    }
  }
  context.globalCompositeOperation = "destination-in";
  context.drawImage(edges, 0, 0);
  const span = SHEET / grid.size;
  groundUnder(context, grid, [column * span, band * span, span], px * SHEET);
  return canvas.transferToImageBitmap();
}

const sizeOf = ({ width, height }) => width * height * 4;

function keep(path, bitmap) {
  drawn.set(path, { bitmap, frame });
  bytes += sizeOf(bitmap);
  for (const [oldest, old] of drawn) {
    // Keep everything that the last frame showed, whatever its size: it would be loaded again at once.
    if (bytes <= MAX_BYTES || old.frame >= frame - 1) break;
    bytes -= sizeOf(old.bitmap);
    old.bitmap.close();
    drawn.delete(oldest);
  }
}

async function fetchOne({ path, file, make }) {
  loading.add(path);
  try {
    const image = await decodedImage(await loadFile(file)),
      made = make(image);
    // A decoded sheet takes megabytes, so free it without waiting for the garbage collector.
    if (made !== image) image.close();
    keep(path, made);
  } catch (error) {
    // The coarser picture remains visible.
    failedSheets.add(path);
    warn(error.message);
  }
  loading.delete(path);
  redraw();
}

/** The bitmap of a request if it is loaded; otherwise null, and the request is added to this frame's. */
function bitmap(request) {
  const found = drawn.get(request.path);
  if (!found) {
    if (!failedSheets.has(request.path)) wanted.push(request);
    return null;
  }
  drawn.delete(request.path);
  drawn.set(request.path, { bitmap: found.bitmap, frame });
  return found.bitmap;
}

/** Start to load the pictures that the last frame lacked, nearest to the centre first. */
export const loadWanted = () => {
  wanted.sort((a, b) => a.far - b.far);
  for (const request of wanted) {
    if (loading.size >= MAX_LOADS) break;
    if (!loading.has(request.path)) fetchOne(request);
  }
  lacking = wanted.length;
  wanted = [];
  frame++;
};

/** Whether all visible pictures are loaded. */
export const isComplete = () => loading.size + lacking === 0;

/** The picture of the whole grid's icons, or null while it loads. */
export const overviewOf = (grid, full) => {
  const file = `${grid.folder}/icons-overview-${full ? "full" : "density"}.js`;
  return bitmap({ path: file, file, far: -2, make: (image) => onGround(image, grid) });
};

/** The picture of the whole grid with the ground behind its icons. */
function onGround(image, grid) {
  const canvas = new OffscreenCanvas(image.width, image.height),
    context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  groundUnder(context, grid, [0, 0, 1], image.width);
  return canvas.transferToImageBitmap();
}

const fileOf = (grid, kind, band, column, low) =>
  `${grid.folder}/${kind}-${band}-${column}${low ? "-low" : ""}.js`;

/**
 * The bitmap of a sheet, or null while it loads. kind: "icons" or "crops". low: the small copy. full: icons fill
 * their cells. far: distance from the centre, which sets the order of loads. share: scale, at most 1.
 */
export const sheetOf = (grid, kind, band, column, { low = false, full, far, share = 1 }) => {
  if (!grid.sheets.has(`${band}-${column}`)) return null;
  const file = fileOf(grid, kind, band, column, low);
  return bitmap({
    path: `${file}#${full}#${share}`,
    file,
    far: low ? far - 1e6 : far,
    make: (image) => arranged(image, grid, band, column, { full, share }),
  });
};

const sheetImages = fileCache(6);
const blocks = fileCache(12);

/** The picture of one cell at full resolution, as an offscreen canvas. The last few sheets are cached. */
export const cellPicture = async (grid, cell, kind = "icons") => {
  const row = grid.row[cell],
    col = grid.col[cell];
  const file = fileOf(grid, kind, Math.floor(row / SHEET), Math.floor(col / SHEET), false);
  const image = await sheetImages(file, decodedImage),
    px = image.width / SHEET;
  const canvas = new OffscreenCanvas(px, px);
  canvas.getContext("2d").drawImage(image, (col % SHEET) * px, (row % SHEET) * px, px, px, 0, 0, px, px);
  return canvas;
};

const BLOCK = 4;
const CROPS = 4; // crops along a side of a cell's square
const NEAREST = 9; // places of the nearest patches in it; those of the range follow

/**
 * The real patches of a cell: {nearest, range: from the nearest to the farthest from its mean}, each
 * [{canvas, image, row, col, key, label, cosine?}].
 */
export const cellExamples = async (grid, cell) => {
  const row = grid.row[cell],
    col = grid.col[cell];
  const file = `${grid.folder}/block-${Math.floor(row / BLOCK)}-${Math.floor(col / BLOCK)}.js`;
  const block = await blocks(file, async (read) => ({ ...read, image: await decodedImage(read.picture) }));
  const here = block.at.findIndex((at) => at[0] === row && at[1] === col);
  const patch = (place, [image, atRow, atCol, key, label, cosine]) => {
    const canvas = document.createElement("canvas"),
      px = block.px;
    canvas.width = canvas.height = px;
    const x = ((col % BLOCK) * CROPS + (place % CROPS)) * px,
      y = ((row % BLOCK) * CROPS + Math.floor(place / CROPS)) * px;
    canvas.getContext("2d").drawImage(block.image, x, y, px, px, 0, 0, px, px);
    return { canvas, image, row: atRow, col: atCol, key, label, cosine };
  };
  return {
    nearest: (block.cells[here] ?? []).map((origin, rank) => patch(rank, origin)),
    range: (block.ranges[here] ?? []).map((origin, rank) => patch(NEAREST + rank, origin)),
  };
};
