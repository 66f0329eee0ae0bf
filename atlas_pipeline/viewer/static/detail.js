// The panel of the chosen cell: what it stands for, its icon and real patches, its classes and its numbers.

import { chosenCell, decimals, measureOf, numberWords, topClasses, wordsFor } from "./cells.js";
import { run } from "./data.js";
import { fillIcon, headingElements, headingOf, patchElements, patchesOf } from "./evidence.js";
import { panelClosed } from "./fitting.js";
import { forgetImage, showImage } from "./image.js";
import { byId, element, say, warn } from "./page.js";
import { set, state } from "./state.js";
import { lightUp } from "./travel.js";
import { fillAtoms, fillUnits } from "./unit_links.js";

/** A measure of a cell as text. */
export function measureWords(grid, measure, cell) {
  const value = measureOf(grid, measure, cell);
  if (value === null) return "–";
  if (measure.kind === "rank") return value === 0 ? "own cell" : `rank ${value + 1}`;
  return measure.kind === "share" ? `${Math.round(100 * value)} %` : decimals(value);
}

/** Bars of a cell's top classes; with `choose` they are buttons that call it with the class index. */
export const classBars = (grid, cell, choose) => {
  const top = topClasses(grid, cell),
    most = Math.max(...top.map(({ value }) => Math.abs(value)), 1e-9);
  return top.map(({ index, label, value }) => {
    const bar = element("span", { className: value < 0 ? "bar negative" : "bar" });
    bar.style.width = `${(100 * Math.abs(value)) / most}%`;
    const content = [
      element("bdi", { textContent: label }),
      element("span", { className: "value", textContent: decimals(value) }),
      element("span", { className: "track" }, bar),
    ];
    return choose
      ? element(
          "button",
          { className: "class-bar", title: `Light up ${label}`, onclick: () => choose(index) },
          ...content,
        )
      : element("div", { className: "class-bar" }, ...content);
  });
};

const sentence = (words) => words && words[0].toUpperCase() + words.slice(1);

/** The rows of a cell's panel: [{name, value, small: text next to it, help, scale?: [[share, words], ...]}]. */
export function panelRows(grid, cell) {
  const available = run.measures.filter(({ column }) => grid[column]),
    known = new Map(available.map((measure) => [measure.name, measure]));
  const rows = available
    .filter(({ panel }) => panel)
    .map((measure) => {
      const baselines = measure.beside
        .filter(({ name }) => known.has(name))
        .map(({ name, words }) => [known.get(name), words]);
      const beside = baselines.map(([other, words]) => `${words} ${measureWords(grid, other, cell)}`);
      if (measure.kind === "rank") beside.unshift(`of ${numberWords(grid.cells)}`);
      if (measure.note) beside.unshift(measure.note);
      // A cosine is shown on a line from 0 to 1, together with its baselines.
      const marks = [[measure, ""], ...baselines]
        .map(([other, words]) => [measureOf(grid, other, cell), words])
        .filter(([value]) => value !== null);
      return {
        name: measure.panel,
        value: measureWords(grid, measure, cell),
        small: beside.join(", "),
        help: sentence(measure.help),
        scale: ["cosine", "share"].includes(measure.kind) ? marks : null,
      };
    });
  const help = "Activations of real images in this cell; the icon stands for their mean.";
  return [{ name: "Activations", value: numberWords(grid.count[cell]), small: "", help, scale: null }, ...rows];
}

function scaleLine(marks) {
  const line = element("span", { className: "scale", "aria-hidden": "true" });
  for (const [value, words] of marks) {
    const mark = element("span", { className: words ? "baseline" : "mark", title: words });
    mark.style.left = `${100 * Math.min(1, Math.max(0, value))}%`;
    line.append(mark);
  }
  return line;
}

function numberList(grid, cell) {
  return element(
    "dl",
    { className: "numbers" },
    ...panelRows(grid, cell).map(({ name, value, small, help, scale }) =>
      element(
        "div",
        {},
        element("dt", { textContent: name }),
        element(
          "dd",
          { textContent: value },
          small ? element("small", { textContent: small }) : null,
          scale?.length ? scaleLine(scale) : null,
          help ? element("p", { className: "note", textContent: help }) : null,
        ),
      ),
    ),
  );
}

async function fillPatches(parts, grid, cell) {
  const patches = await patchesOf(grid, cell);
  if (!parts.head.isConnected) return;
  const { nine, range, words } = patchElements(patches);
  parts.head.replaceChildren(...headParts(grid, cell, patches.nearest));
  parts.nine.replaceChildren(nine);
  if (patches.range.length > 1)
    parts.range.replaceChildren(
      element(
        "h3",
        { textContent: "From the nearest to the farthest" },
        element("small", { textContent: "members of the cell, with their cosine to its mean" }),
      ),
      range,
    );
  parts.words.replaceChildren(words);
}

const headParts = (grid, cell, nearest) => [
  ...headingElements(headingOf(grid, cell, nearest), "h2").filter((one) => one !== null),
];

let shownCell = "";

/** Show the panel of the chosen cell, or hide it if no cell is chosen. */
export const showDetail = () => {
  const chosen = chosenCell(),
    panel = byId("detail"),
    isWanted = chosen || state.image !== "",
    isClosed = !panel.hidden && !isWanted;
  panel.hidden = !isWanted;
  if (isClosed) panelClosed();
  if (state.image !== "") {
    shownCell = "";
    return void showImage(panel);
  }
  forgetImage();
  panel.setAttribute("aria-label", "The chosen cell");
  if (!chosen) return void (shownCell = "");
  const { grid, cell } = chosen,
    name = `${grid.folder}#${cell}`;
  if (name === shownCell) return;
  shownCell = name;
  const icon = element("canvas", {
    className: "icon",
    role: "img",
    "aria-label": `Icon of ${wordsFor(grid, cell)}`,
  });
  const parts = Object.fromEntries(["head", "nine", "range", "words"].map((one) => [one, element("div", {})])),
    top = classBars(grid, cell, (index) => set({ lit: String(index) })),
    units = element("div", {}),
    atoms = element("div", {});
  parts.head.append(...headParts(grid, cell, []));
  panel.replaceChildren(
    element(
      "header",
      {},
      parts.head,
      element("button", {
        className: "plain",
        "aria-label": "Close",
        textContent: "✕",
        onclick: () => set({ cell: "" }),
      }),
    ),
    element(
      "div",
      { className: "pictures" },
      element("figure", {}, icon, element("figcaption", { textContent: "Icon, made to excite the layer" })),
      grid.cropPx
        ? element("figure", {}, parts.nine, element("figcaption", { textContent: "Nearest real patches" }))
        : "",
    ),
    parts.words,
    parts.range,
    ...(top.length
      ? [
          element(
            "h3",
            { textContent: "Classes it speaks for" },
            element("small", { textContent: "mean attribution, logits; click one to light it up" }),
          ),
          element("div", {}, ...top),
        ]
      : []),
    element("h3", { textContent: "How far to trust it" }),
    numberList(grid, cell),
    units,
    atoms,
    element("p", {
      className: "note where",
      textContent: `Row ${grid.row[cell] + 1}, column ${grid.col[cell] + 1} of the ${grid.size} × ${grid.size} grid`,
    }),
    run.layers.length > 1
      ? element("button", {
          className: "link",
          textContent: "Light up in all layers",
          title: "Key: b",
          onclick: lightUp,
        })
      : "",
  );
  panel.scrollTop = 0;
  fillIcon(icon, grid, cell);
  if (grid.cropPx) fillPatches(parts, grid, cell);
  fillUnits(units, grid, cell).catch((error) => warn(error.message));
  fillAtoms(atoms, grid, cell).catch((error) => warn(error.message));
  say(wordsFor(grid, cell));
};
