// A cell in words and pictures: its name, its icon, and patches of real images.

import { agreementOf, numberWords, topClasses } from "./cells.js";
import { shortLabel } from "./names.js";
import { element, warn } from "./page.js";
import { findImage } from "./search.js";
import { cellExamples, cellPicture } from "./sheets.js";

const MAJORITY = 0.5; // as in regions.py: below it, a cell speaks for no single class

const percent = (share) => `${Math.round(100 * share)} %`;

/** The label that more than half of the nearest patches share: {label, count, of}; null if there is none. */
export const commonLabel = (nearest) => {
  const counts = new Map();
  for (const { label } of nearest) if (label) counts.set(label, (counts.get(label) ?? 0) + 1);
  const [most] = [...counts].sort((a, b) => b[1] - a[1]);
  return most && most[1] > nearest.length / 2 ? { label: most[0], count: most[1], of: nearest.length } : null;
};

/**
 * The name of a cell: {kicker, title, sub}. The class that at least half of its activations agree on; else the
 * label of most of its nearest patches, where they are loaded; else its two first classes.
 */
export const headingOf = (grid, cell, nearest = []) => {
  const top = topClasses(grid, cell).filter(({ value }) => value > 0),
    agreement = agreementOf(grid, cell),
    labelled = commonLabel(nearest);
  const beside = labelled ? `${labelled.count} of its ${labelled.of} nearest patches: ${labelled.label}` : "";
  if (top.length && agreement >= MAJORITY) {
    const agreed = agreement < 1 ? `${percent(agreement)} of its activations agree on a class` : "";
    return { kicker: "Speaks for", title: shortLabel(top[0].label), sub: agreed || beside };
  }
  const few = top.length ? `only ${percent(agreement)} of its activations agree on a class` : "";
  if (labelled)
    return {
      kicker: "Looks like",
      title: labelled.label,
      sub: `${labelled.count} of its ${labelled.of} nearest patches${few ? `; ${few}` : ""}`,
    };
  if (top.length)
    return {
      kicker: "Speaks for many classes, first",
      title: top
        .slice(0, 2)
        .map(({ label }) => shortLabel(label))
        .join(", "),
      sub: few,
    };
  return { kicker: "A group of", title: `${numberWords(grid.count[cell])} similar activations`, sub: "" };
};

/** A heading as elements; tag: of the title. */
export const headingElements = ({ kicker, title, sub }, tag) => [
  element("p", { className: "kicker", textContent: kicker }),
  element(tag, { className: "cell-title" }, element("bdi", { textContent: title })),
  sub ? element("p", { className: "note", textContent: sub }) : null,
];

/** Fill a canvas with the icon of a cell. */
export const fillIcon = (canvas, grid, cell) =>
  cellPicture(grid, cell)
    .then((picture) => {
      Object.assign(canvas, { width: picture.width, height: picture.height });
      canvas.getContext("2d").drawImage(picture, 0, 0);
    })
    .catch((error) => warn(error.message));

const NONE = { nearest: [], range: [] };

/** The patches of a cell: {nearest, range}; both empty if the run has none, or they cannot be loaded. */
export const patchesOf = (grid, cell) =>
  grid.cropPx
    ? cellExamples(grid, cell).catch((error) => {
        warn(error.message);
        return NONE;
      })
    : Promise.resolve(NONE);

/** Nine patches as plain pictures, for the tooltip. */
export const plainPatches = (nearest) => {
  for (const { canvas } of nearest) canvas.setAttribute("aria-hidden", "true");
  return nearest.map(({ canvas }) => canvas);
};

const placeWords = ({ image, row, col }) => `image ${image}, position ${row}, ${col}`;

/** A patch as a button that finds its image; tell(patch) is called when it is pointed at. */
function patchButton(patch, tell) {
  patch.canvas.setAttribute("aria-hidden", "true");
  const tellThis = () => tell(patch);
  return element(
    "button",
    {
      "aria-label": `Image ${patch.image}, ${patch.key}, position ${patch.row}, ${patch.col}: find it on the map`,
      title: `${patch.key} · ${placeWords(patch)}`,
      onpointerenter: tellThis,
      onfocus: tellThis,
      onclick: () => findImage(patch.image),
    },
    patch.canvas,
    patch.cosine === undefined ? null : element("span", { textContent: patch.cosine.toFixed(2) }),
  );
}

/** The patches of a cell as buttons, and a line that tells of the one pointed at: {nine, range, words}. */
export const patchElements = ({ nearest, range }) => {
  const words = element("p", { className: "note" });
  const tell = (patch) =>
    words.replaceChildren(
      element("bdi", { textContent: patch.key }),
      ` · ${[patch.label, placeWords(patch)].filter(Boolean).join(" · ")}`,
    );
  const buttons = (patches) => patches.map((patch) => patchButton(patch, tell));
  if (nearest.length) tell(nearest[0]);
  return {
    nine: element("div", { className: "nine" }, ...buttons(nearest)),
    range: element("div", { className: "range" }, ...buttons(range)),
    words,
  };
};
