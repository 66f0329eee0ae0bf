// Sheets of 16 x 16 pictures: those that are in sight are loaded, drawn to size once, and kept while there is room.

import { decodedImage, failureSet, fileKeeper, loadFile } from "./data.js";
import { redraw } from "./draw.js";
import { warn } from "./page.js";

export const SHEET = 16; // pictures along a side of a sheet
const MOST_BYTES = 100e6;
const MOST_LOADS = 6;
const drawn = new Map(); // path -> {bitmap, frame}; the least recently used first
const loading = new Set();
const failedSheets = failureSet();
let bytes = 0;
let frame = 0;
let lacking = 0;
let wanted = [];

/** A sheet with every icon as large as its activations are many, or full; `share` of the sheet's own size. */
function arranged(image, grid, band, column, { full, share }) {
  const from = image.width / SHEET,
    px = from * share;
  const canvas = new OffscreenCanvas(px * SHEET, px * SHEET);
  const context = canvas.getContext("2d");
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
    }
  }
  return canvas.transferToImageBitmap();
}

const sizeOf = ({ width, height }) => width * height * 4;

function keep(path, bitmap) {
  drawn.set(path, { bitmap, frame });
  bytes += sizeOf(bitmap);
  for (const [oldest, old] of drawn) {
    // What the last frame showed stays, however much: else it would be loaded again at once.
    if (bytes <= MOST_BYTES || old.frame >= frame - 1) break;
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
    // A decoded sheet takes megabytes, and is not kept waiting for the collector.
    if (made !== image) image.close();
    keep(path, made);
  } catch (error) {
    // The coarser picture stays.
    failedSheets.add(path);
    warn(error.message);
  }
  loading.delete(path);
  redraw();
}

/** A bitmap if it is there; if not it is noted as wanted in this frame. */
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

/** Begin loading what the last frame lacked, nearest to the middle first. */
export const loadWanted = () => {
  wanted.sort((a, b) => a.far - b.far);
  for (const request of wanted) {
    if (loading.size >= MOST_LOADS) break;
    if (!loading.has(request.path)) fetchOne(request);
  }
  lacking = wanted.length;
  wanted = [];
  frame++;
};

/** Whether all that is in sight has come. */
export const isComplete = () => loading.size + lacking === 0;

/** The whole grid in one picture; crops have none. */
export const overviewOf = (grid, full) => {
  const file = `${grid.folder}/icons-overview-${full ? "full" : "density"}.js`;
  return bitmap({ path: file, file, far: -2, make: (image) => image });
};

const fileOf = (grid, kind, band, column, low) =>
  `${grid.folder}/${kind}-${band}-${column}${low ? "-low" : ""}.js`;

/** One sheet: kind "icons" or "crops"; low: its small copy; share: of the size that is needed, 1 or less. */
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

const sheetImages = fileKeeper(6);
const blocks = fileKeeper(12);

/** The picture of one cell at its best, as an offscreen canvas. The last few sheets are kept for neighbours. */
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

/** The nearest real patches of a cell: [{canvas, image, row, col, key}]. */
export const cellExamples = async (grid, cell) => {
  const row = grid.row[cell],
    col = grid.col[cell];
  const file = `${grid.folder}/block-${Math.floor(row / BLOCK)}-${Math.floor(col / BLOCK)}.js`;
  const block = await blocks(file, async (read) => ({ ...read, image: await decodedImage(read.picture) }));
  const listed = block.cells[block.at.findIndex((at) => at[0] === row && at[1] === col)] ?? [];
  return listed.map(([image, atRow, atCol, key], rank) => {
    const canvas = document.createElement("canvas"),
      px = block.px;
    canvas.width = canvas.height = px;
    const x = ((col % BLOCK) * 3 + (rank % 3)) * px,
      y = ((row % BLOCK) * 3 + Math.floor(rank / 3)) * px;
    canvas.getContext("2d").drawImage(block.image, x, y, px, px, 0, 0, px, px);
    return { canvas, image, row: atRow, col: atCol, key };
  });
};
