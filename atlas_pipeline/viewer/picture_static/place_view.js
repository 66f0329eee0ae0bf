// One position of the picture: the cell of the atlas it lies on, its icon, real patches, and its units.

import { cellOf, unitOf } from "./address.js";
import { element } from "./page.js";
import { openedSheet, short, square } from "./sheets_of_units.js";

/** A unit with its value, as a link to its page where it has one. */
export const unitChip = (values, unit, words) =>
  values.unitPages && (!values.unitPages.length || values.unitPages.includes(unit))
    ? element("a", { href: unitOf(values.layer, unit), textContent: words })
    : element("span", { textContent: words });

const figureOf = (canvas, words) =>
  element("figure", {}, canvas, element("figcaption", { className: "note", textContent: words }));

async function iconsAt(values, position, cellSheet) {
  const slot = values.cell[position],
    own = values.positionIcons?.at.indexOf(position) ?? -1;
  const icons = [];
  if (slot >= 0) icons.push(figureOf(square(cellSheet, slot, "Icon of its cell"), "its cell's icon"));
  if (own >= 0) {
    const sheet = await openedSheet(values.positionIcons.icons);
    icons.push(figureOf(square(sheet, own, "Icon of this position"), "its own icon"));
  }
  return icons;
}

function placeWords(values, position) {
  const slot = values.cell[position];
  if (slot < 0) return element("p", { textContent: "No channel fires here, so it lies nowhere on the atlas." });
  const cell = values.cells[slot],
    where = `row ${cell.row + 1}, column ${cell.col + 1}`;
  return element(
    "p",
    {},
    "On the atlas: ",
    element("a", { href: cellOf(values.layer, cell), textContent: where }),
    `, ${cell.count.toLocaleString("en")} activations` +
      (cell.name ? `, which speak most for ${cell.name}` : "") +
      `. Cosine to their mean: ${short(values.cosine[position])}.`,
  );
}

/** The section of a position. attribution: its words. */
export const placeSection = async (values, position, cellSheet, attribution) => {
  const [row, col] = [Math.floor(position / values.width), position % values.width],
    slot = values.cell[position],
    units = values.units[position];
  return [
    element("h2", { id: "place", textContent: `Position: row ${row + 1}, column ${col + 1}` }),
    element(
      "div",
      { className: "here" },
      element("div", { className: "icons" }, ...(await iconsAt(values, position, cellSheet))),
      element(
        "div",
        {},
        placeWords(values, position),
        element("p", {
          className: "note",
          textContent: `Length of the activation: ${short(values.length[position])}. ${attribution}`,
        }),
        slot >= 0 && values.patches
          ? element("img", {
              className: "strip",
              src: `data:image/webp;base64,${values.patches[slot]}`,
              alt: "Real patches nearest to the cell's mean",
            })
          : null,
        element("h3", { textContent: "Units farthest above their mean here, in standard deviations" }),
        element(
          "div",
          { className: "chips" },
          ...units.map(([unit, above]) => unitChip(values, unit, `${unit}: ${short(above)} sd`)),
          units.length ? null : element("span", { textContent: "none" }),
        ),
      ),
    ),
  ];
};
