// The legends drawn onto a canvas, for saved pictures.

import { theme } from "./draw.js";
import { legends } from "./scales.js";

const RAMP = [220, 10]; // width and height in CSS pixels
const LEGEND_PX = 62;
const ROW_PX = 20;
const COLUMN_PX = 190;
const SANS = 'system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif';

const heightOf = ({ rows }) => (rows ? 30 + ROW_PX * Math.ceil(rows.length / 4) : LEGEND_PX);

/** The height of all legends, one below the other, in CSS pixels; 0 if there are none. */
export const heightOfLegends = () => {
  const shown = legends();
  return shown.length ? 14 + shown.reduce((sum, one) => sum + heightOf(one), 0) : 0;
};

function drawHead(context, { title, unit, note }, x, y, width) {
  const { ink, muted } = theme();
  Object.assign(context, { font: `600 13px ${SANS}`, fillStyle: ink, textAlign: "left" });
  context.fillText(title, x, y, width);
  const after = x + Math.min(width, context.measureText(title).width) + 8;
  Object.assign(context, { font: `13px ${SANS}`, fillStyle: muted });
  context.fillText([unit, note].filter(Boolean).join(" · "), after, y, Math.max(1, width - (after - x)));
}

function drawRamp(context, { ramp, ticks }, x, y) {
  const [width, height] = RAMP,
    { muted } = theme();
  ramp.forEach((colour, at) => {
    context.fillStyle = colour;
    context.fillRect(x + (width * at) / ramp.length, y, width / ramp.length + 0.5, height);
  });
  Object.assign(context, { fillStyle: muted, font: `12px ${SANS}` });
  for (const { at, words } of ticks) {
    context.fillRect(x + at * (width - 1), y + height, 1, 4);
    context.textAlign = at === 0 ? "left" : at === 1 ? "right" : "center";
    context.fillText(words, x + at * width, y + height + 12);
  }
}

function drawRows(context, rows, x, y) {
  const { ink } = theme();
  Object.assign(context, { font: `12px ${SANS}`, textAlign: "left" });
  rows.forEach(({ colour, words, beside }, at) => {
    const left = x + (at % 4) * COLUMN_PX,
      middle = y + Math.floor(at / 4) * ROW_PX;
    context.fillStyle = colour;
    context.fillRect(left, middle - 6, 12, 12);
    context.fillStyle = ink;
    context.fillText(`${words}  ${beside}`, left + 18, middle, COLUMN_PX - 26);
  });
}

/** Draw all legends below each other from a point on. */
export const drawLegends = (context, x, top, width) => {
  let y = top + 18;
  context.textBaseline = "middle";
  for (const one of legends()) {
    drawHead(context, one, x, y, width);
    if (one.ramp) drawRamp(context, one, x, y + 14);
    if (one.rows) drawRows(context, one.rows, x, y + 22);
    y += heightOf(one);
  }
};
