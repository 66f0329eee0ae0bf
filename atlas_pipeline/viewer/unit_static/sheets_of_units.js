// Pictures of a sheet, drawn on canvases; numbers as words.

import { decodedImage } from "./data.js";
import { element } from "./page.js";

/** A canvas with one square of a sheet. sheet: {bitmap, px, columns}; slot: number of the square. */
export const square = (sheet, slot, words = "") => {
  const canvas = element("canvas", { width: sheet.px, height: sheet.px });
  if (words) {
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", words);
  } else canvas.setAttribute("aria-hidden", "true");
  const [row, col] = [Math.floor(slot / sheet.columns), slot % sheet.columns];
  canvas
    .getContext("2d")
    .drawImage(sheet.bitmap, col * sheet.px, row * sheet.px, sheet.px, sheet.px, 0, 0, sheet.px, sheet.px);
  return canvas;
};

/** A sheet of a data file with its picture decoded. */
export const openedSheet = async ({ px, columns, picture }) => ({
  px,
  columns,
  bitmap: await decodedImage(picture),
});

/** A number of things in words. */
export const counted = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

/** A number with three significant digits. */
export const short = (value) => {
  if (value === null) return "–";
  const words = Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : value.toPrecision(3);
  return words.includes(".") && !words.includes("e") ? words.replace(/\.?0+$/, "") : words;
};

/** A share as a percentage. */
export const percent = (share) => {
  if (share === 0) return "0 %";
  if (share < 0.001) return "under 0.1 %";
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
};
