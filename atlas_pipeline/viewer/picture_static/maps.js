// Drawing of maps: the picture, its attribution, the icons of its positions.

import { element } from "./page.js";

const SIDE = 448;

const colourOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A canvas for a map, described in words. */
export const mapCanvas = (words, side = SIDE) =>
  element("canvas", { width: side, height: side, role: "img", "aria-label": words });

/** Draw the picture faint and grey, as the ground of a map: colours are those of the values alone. */
export const drawGround = (canvas, bitmap) => {
  const target = canvas.getContext("2d"),
    all = [0, 0, canvas.width, canvas.height];
  target.drawImage(bitmap, ...all);
  target.globalCompositeOperation = "saturation";
  target.fillStyle = "#808080";
  target.fillRect(...all);
  target.globalCompositeOperation = "source-over";
  target.globalAlpha = 0.35;
  target.fillStyle = "#fff";
  target.fillRect(...all);
  target.globalAlpha = 1;
};

/** Draw values of positions as squares: one colour for those above 0, another for those below. */
export const drawHeat = (canvas, { height, width }, values, most = Math.max(...values.map(Math.abs))) => {
  const target = canvas.getContext("2d"),
    [w, h] = [canvas.width / width, canvas.height / height];
  values.forEach((value, n) => {
    if (!most || !value) return;
    target.globalAlpha = 0.85 * Math.min(1, Math.abs(value) / most);
    target.fillStyle = colourOf(value > 0 ? "--heat" : "--cold");
    target.fillRect((n % width) * w, Math.floor(n / width) * h, w, h);
  });
  target.globalAlpha = 1;
};

/** Draw the icon of each position's cell; its area shows the length of the activation. */
export const drawIcons = (canvas, values, sheet) => {
  const target = canvas.getContext("2d"),
    { width, height, length, cell } = values,
    most = Math.max(...length),
    [w, h] = [canvas.width / width, canvas.height / height];
  length.forEach((one, n) => {
    if (cell[n] < 0 || !most) return;
    const share = Math.sqrt(one / most),
      [x, y] = [(n % width) * w, Math.floor(n / width) * h],
      [sx, sy] = [(cell[n] % sheet.columns) * sheet.px, Math.floor(cell[n] / sheet.columns) * sheet.px];
    target.drawImage(
      sheet.bitmap,
      ...[sx, sy, sheet.px, sheet.px],
      ...[x + (w * (1 - share)) / 2, y + (h * (1 - share)) / 2, w * share, h * share],
    );
  });
};

/** Mark a position. */
export const drawMark = (canvas, { height, width }, position) => {
  const target = canvas.getContext("2d"),
    [w, h] = [canvas.width / width, canvas.height / height],
    [row, col] = [Math.floor(position / width), position % width];
  for (const [colour, line] of [
    ["#000", 5],
    ["#fff", 2.5],
  ]) {
    target.strokeStyle = colour;
    target.lineWidth = line;
    target.strokeRect(col * w, row * h, w, h);
  }
};

/** Call chosen(position) when a position of a map is clicked. */
export const onPosition = (canvas, { height, width }, chosen) => {
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect(),
      inside = (at, start, size, num) => Math.min(num - 1, Math.max(0, Math.floor(((at - start) / size) * num)));
    chosen(
      inside(event.clientY, box.top, box.height, height) * width + inside(event.clientX, box.left, box.width, width),
    );
  });
};
