// A unit's icons, the classes it speaks for, and the cells of the atlas where it is strongest.

import { element } from "./page.js";
import { short, square } from "./sheets_of_units.js";
import { WORDS } from "./words.js";

const KINDS = {
  neuron: "one position",
  negative: "one position, least",
  channel: "whole map",
  channel_negative: "whole map, least",
};

/** The words for a kind of icon. */
export const kindWords = (kind) => KINDS[kind] ?? `other ways, ${kind.split("-")[1]}`;

/** The section with the icons. */
export const iconSection = (values, sheet) => {
  if (!values.icons) return [];
  return [
    element("h2", { textContent: "Icons" }),
    element("p", {
      className: "note",
      textContent:
        "Images made to drive the unit: at one position or over the whole map, as high or as low as they can. " +
        "Other ways are images that drive it and are unlike the first. Values are before the ReLU, if there is one.",
    }),
    element(
      "div",
      { className: "patches icons" },
      ...values.icons.kinds.map(([kind, value], slot) =>
        element(
          "figure",
          { className: "patch" },
          square(sheet, slot, `Icon: ${kindWords(kind)}, value ${short(value)}`),
          element("figcaption", {
            textContent: `${kindWords(kind)}: ${short(value)}`,
          }),
        ),
      ),
    ),
  ];
};

function classBar([label, value], most) {
  const bar = element("span", { className: value > 0 ? "bar" : "bar against" });
  bar.style.width = `${(100 * Math.abs(value)) / most}%`;
  return element(
    "li",
    {},
    element("bdi", { textContent: label }),
    element("span", { className: "value", textContent: short(value) }),
    element("span", { className: "track" }, bar),
  );
}

/** The section with the classes; a note where the run has no attributions. */
export const classSection = (values) => {
  const title = element("h2", { textContent: "Classes it speaks for" });
  if (!values.classes)
    return [title, element("p", { className: "note", textContent: "This run computes no attributions." })];
  const { for: supported, against } = values.classes,
    all = [...supported, ...against];
  if (!all.length)
    return [title, element("p", { className: "note", textContent: "Its attribution to every class is 0." })];
  const most = Math.max(...all.map((one) => Math.abs(one[1])));
  return [
    title,
    element("p", {
      className: "note",
      textContent: WORDS.classes,
    }),
    element("ul", { className: "classes" }, ...all.map((one) => classBar(one, most))),
  ];
};

/** The section with the atlas's cells. cells: the layer's file of cells, and its sheet. */
export const cellSection = (values, cells, sheet) => {
  const found = cells?.units[values.unit] ?? [];
  if (!found.length) return [];
  return [
    element("h2", { textContent: "Cells of the atlas where it is strongest" }),
    element("p", {
      className: "note",
      textContent: WORDS.cells,
    }),
    element(
      "div",
      { className: "patches" },
      ...found.map(([row, col, mean, slot]) => {
        const where = new URLSearchParams({ layer: values.layer, cell: `${cells.grid}.${row}.${col}` });
        const words = `Cell in row ${row + 1}, column ${col + 1}, mean ${short(mean)}`;
        return element(
          "a",
          { className: "patch cell", href: `../index.html#${where}`, "aria-label": words },
          square(sheet, slot),
          element("span", { className: "caption", textContent: short(mean) }),
        );
      }),
    ),
  ];
};
