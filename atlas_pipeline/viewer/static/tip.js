// The tooltip at the pointer: a cell's name, its icon beside its real patches, and its classes.

import { decimals, numberWords } from "./cells.js";
import { classBars } from "./detail.js";
import { fillIcon, headingElements, headingOf, patchesOf, plainPatches } from "./evidence.js";
import { logitsOf } from "./lit.js";
import { attributionOf } from "./overlay.js";
import { byId, element } from "./page.js";

const DWELL_MS = 80; // time on a cell after which its patches are loaded
const TIP_GAP = 18;
let dwelling = 0;

function place(tip, x, y) {
  const { width, height } = tip.getBoundingClientRect(),
    panel = byId("detail").getBoundingClientRect();
  // The panel, if it is open, covers the right side of the page, or its bottom.
  const isBeside = panel.width && panel.height > innerHeight * 0.7,
    right = isBeside ? Math.min(innerWidth, panel.left) : innerWidth,
    bottom = panel.width && !isBeside ? Math.min(innerHeight, panel.top) : innerHeight;
  const left = x + TIP_GAP + width > right ? x - TIP_GAP - width : x + TIP_GAP,
    top = y + TIP_GAP + height > bottom ? y - TIP_GAP - height : y + TIP_GAP;
  tip.style.left = `${Math.max(4, Math.min(left, right - width - 4))}px`;
  tip.style.top = `${Math.max(4, Math.min(top, bottom - height - 4))}px`;
}

function litLine(grid, cell, attribution) {
  return element(
    "p",
    { className: "of-class" },
    element("bdi", { textContent: grid.classes[attribution.column] }),
    ` ${decimals(logitsOf(attribution, cell))}`,
  );
}

function fill(tip, grid, cell, attribution, whenFilled) {
  const icon = element("canvas", { className: "icon" }),
    head = element("div", {}, ...headingElements(headingOf(grid, cell), "p")),
    nine = element("div", { className: "nine" });
  const count = grid.count[cell];
  const average = `Average of ${numberWords(count)} activation${count === 1 ? "" : "s"}`;
  tip.replaceChildren(
    head,
    element("div", { className: "pictures" }, icon, grid.cropPx ? nine : ""),
    element("p", { className: "note", textContent: average + (grid.cropPx ? "; right: real patches" : "") }),
    ...classBars(grid, cell),
    attribution ? litLine(grid, cell, attribution) : "",
  );
  fillIcon(icon, grid, cell);
  clearTimeout(dwelling);
  if (!grid.cropPx) return;
  const name = tip.dataset.cell;
  dwelling = setTimeout(async () => {
    const { nearest } = await patchesOf(grid, cell);
    if (tip.dataset.cell !== name) return;
    nine.replaceChildren(...plainPatches(nearest));
    head.replaceChildren(
      ...headingElements(headingOf(grid, cell, nearest), "p").filter((one) => one !== null),
    );
    whenFilled();
  }, DWELL_MS);
}

let pointed = [0, 0];

/** Show the tooltip of a cell at a point of the screen, or hide it (cell -1). */
export const showTip = (grid, cell, x, y) => {
  const tip = byId("tip");
  tip.hidden = cell < 0;
  if (cell < 0) {
    clearTimeout(dwelling);
    return void (tip.dataset.cell = "");
  }
  pointed = [x, y];
  // The highlighted class has a line of its own as soon as its attribution is loaded.
  const attribution = attributionOf(grid),
    name = `${attribution?.column ?? ""}#${grid.folder}#${cell}`;
  if (tip.dataset.cell !== name) {
    tip.dataset.cell = name;
    fill(tip, grid, cell, attribution, () => place(tip, ...pointed));
  }
  place(tip, x, y);
};
