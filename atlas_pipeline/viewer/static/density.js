// The ground behind the icons: bands of grey that follow the density of the activations, like contours on a map.
// They are drawn once into every picture of icons, because a further picture in each frame would take longer.

const GROUND_SIDE = 256; // pixels along the side of the ground of a whole map
const BANDS = [0.08, 0.22, 0.42, 0.66]; // densities at which a band begins, 1: at least the median cell
const BAND_OPACITY = 0.035; // opacity of a band
const GROUND_GREY = 122; // visible on white and on black
const EDGE_PX = 6; // pixels over which the ground fades out at the edge of the map

/** The mean over 2 r + 1 pixels along rows, [n * n] -> the transposed result, so that two passes blur both ways. */
function blurred(field, n, r) {
  const out = new Float32Array(n * n);
  for (let row = 0; row < n; row++) {
    let sum = 0;
    for (let at = -r; at < n + r; at++) {
      if (at + r < n && at + r >= 0) sum += field[row * n + at + r];
      if (at - r - 1 >= 0) sum -= field[row * n + at - r - 1];
      if (at >= 0 && at < n) out[at * n + row] = sum / (2 * r + 1);
    }
  }
  return out;
}

/** The smooth density of a grid's cells over the map, GROUND_SIDE x GROUND_SIDE pixels in reading order; the median cell has 1. */
export const smoothDensity = (grid) => {
  let field = new Float32Array(GROUND_SIDE * GROUND_SIDE);
  const counts = [...grid.count].sort((a, b) => a - b),
    middle = counts[counts.length >> 1] || 1,
    at = (place) => Math.round((place * GROUND_SIDE) / grid.size);
  for (let cell = 0; cell < grid.cells; cell++) {
    const value = Math.min(1, Math.sqrt(grid.count[cell] / middle));
    for (let y = at(grid.row[cell]); y < at(grid.row[cell] + 1); y++)
      for (let x = at(grid.col[cell]); x < at(grid.col[cell] + 1); x++) field[y * GROUND_SIDE + x] = value;
  }
  const r = Math.max(2, Math.round((0.45 * GROUND_SIDE) / Math.min(grid.size, 40)));
  for (let pass = 0; pass < 6; pass++) field = blurred(field, GROUND_SIDE, r);
  return field;
};

/** How far a value is beyond a threshold, from 0 to 1; soft, so that bands have no stairs. */
const beyond = (value, threshold) => Math.min(1, Math.max(0, (value - threshold) / 0.03 + 0.5));

// Not in the grid itself, whose entries are named by measures: one of them is called ground.
const grounds = new WeakMap();

/** The ground of a grid as a picture of the whole map; it is made once. */
export const groundOf = (grid) => {
  if (grounds.has(grid)) return grounds.get(grid);
  const field = smoothDensity(grid),
    canvas = new OffscreenCanvas(GROUND_SIDE, GROUND_SIDE),
    context = canvas.getContext("2d"),
    image = context.createImageData(GROUND_SIDE, GROUND_SIDE);
  for (let at = 0; at < GROUND_SIDE * GROUND_SIDE; at++) {
    const x = at % GROUND_SIDE,
      y = Math.floor(at / GROUND_SIDE),
      edge = Math.min(1, Math.min(x, y, GROUND_SIDE - 1 - x, GROUND_SIDE - 1 - y) / EDGE_PX);
    const opacity = BANDS.reduce((sum, threshold) => sum + BAND_OPACITY * beyond(field[at], threshold), 0);
    image.data.fill(GROUND_GREY, 4 * at, 4 * at + 3);
    image.data[4 * at + 3] = 255 * opacity * edge;
  }
  context.putImageData(image, 0, 0);
  grounds.set(grid, canvas);
  return canvas;
};

/**
 * Draw the ground under what a context already shows. from: the part of the map as [left, top, side], in units
 * of the map; side: of the whole context in pixels.
 */
export const groundUnder = (context, grid, [left, top, span], side) => {
  const ground = groundOf(grid);
  context.globalCompositeOperation = "destination-over";
  context.imageSmoothingQuality = "low";
  const scale = side / span;
  context.drawImage(ground, -left * scale, -top * scale, scale, scale);
  context.globalCompositeOperation = "source-over";
};
