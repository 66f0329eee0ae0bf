// Details of one cell: the tooltip at the pointer, and the panel of the chosen cell.

import { chosenCell, decimals, measureOf, numberWords, topClasses, wordsFor } from "./cells.js";
import { run } from "./data.js";
import { attributionOf } from "./overlay.js";
import { byId, element, say, warn } from "./page.js";
import { findImage } from "./search.js";
import { cellExamples, cellPicture } from "./sheets.js";
import { set } from "./state.js";
import { lightUp } from "./travel.js";

/** A measure of a cell as text. */
export function measureWords(grid, measure, cell) {
  const value = measureOf(grid, measure, cell);
  if (value === null) return "–";
  if (measure.kind === "rank") return value === 0 ? "own cell" : `rank ${value + 1}`;
  return measure.kind === "share" ? `${Math.round(100 * value)} %` : decimals(value);
}

/** Bars of a cell's top classes; with `choose` they are buttons that call it with the class index. */
function bars(grid, cell, choose) {
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
}

/** Show the tooltip of a cell at a point of the screen, or hide it (cell -1). */
export const showTip = (grid, cell, x, y) => {
  const tip = byId("tip");
  tip.hidden = cell < 0;
  if (cell < 0) return;
  // The highlighted class has a line of its own as soon as its attribution is loaded.
  const attribution = attributionOf(grid),
    name = `${attribution?.column ?? ""}#${grid.folder}#${cell}`;
  if (tip.dataset.cell !== name) {
    const lines = [
      element("p", {
        textContent: `Average of ${numberWords(grid.count[cell])} activation${grid.count[cell] === 1 ? "" : "s"}`,
      }),
      ...bars(grid, cell),
    ];
    if (attribution) {
      const level = attribution.levels[cell],
        value = (level * (level > 0 ? attribution.most : attribution.least)) / 127;
      lines.push(
        element(
          "p",
          { className: "of-class" },
          element("bdi", { textContent: grid.classes[attribution.column] }),
          ` ${decimals(value)}`,
        ),
      );
    }
    tip.replaceChildren(...lines);
    tip.dataset.cell = name;
  }
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${x + 18 + width > innerWidth ? Math.max(4, x - 18 - width) : x + 18}px`;
  tip.style.top = `${y + 18 + height > innerHeight ? Math.max(4, y - 12 - height) : y + 18}px`;
};

/** The rows of a cell's panel: [[name, value, text next to it]]. */
export function panelRows(grid, cell) {
  const available = run.measures.filter(({ column }) => grid[column]),
    known = new Map(available.map((measure) => [measure.name, measure]));
  const rows = available
    .filter(({ panel }) => panel)
    .map((measure) => {
      const beside = measure.beside
        .filter(({ name }) => known.has(name))
        .map(({ name, words }) => `${words} ${measureWords(grid, known.get(name), cell)}`);
      if (measure.kind === "rank") beside.unshift(`of ${numberWords(grid.cells)}`);
      if (measure.note) beside.unshift(measure.note);
      return [measure.panel, measureWords(grid, measure, cell), beside.join(", ")];
    });
  return [["Activations", numberWords(grid.count[cell]), ""], ...rows];
}

function numberList(grid, cell) {
  return element(
    "dl",
    { className: "numbers" },
    ...panelRows(grid, cell).map(([name, value, small]) =>
      element(
        "div",
        {},
        element("dt", { textContent: name }),
        element("dd", { textContent: value }, small ? element("small", { textContent: small }) : null),
      ),
    ),
  );
}

async function fillPicture(canvas, grid, cell) {
  const picture = await cellPicture(grid, cell);
  Object.assign(canvas, { width: picture.width, height: picture.height });
  canvas.getContext("2d").drawImage(picture, 0, 0);
}

async function fillExamples(place, grid, cell) {
  const examples = await cellExamples(grid, cell),
    words = element("p", { className: "note" });
  const tell = ({ image, row, col, key }) =>
    words.replaceChildren(element("bdi", { textContent: key }), ` · image ${image}, position ${row}, ${col}`);
  const shown = examples.map((example) => {
    example.canvas.setAttribute("aria-hidden", "true");
    const tellThis = () => tell(example);
    return element(
      "button",
      {
        "aria-label": `Image ${example.image}, ${example.key}, position ${example.row}, ${example.col}: find it on the map`,
        title: `${example.key} · image ${example.image}, position ${example.row}, ${example.col}`,
        onpointerenter: tellThis,
        onfocus: tellThis,
        onclick: () => findImage(example.image),
      },
      example.canvas,
    );
  });
  if (examples.length) tell(examples[0]);
  place.replaceChildren(
    element("h3", { textContent: "Nearest real patches" }),
    element("div", { className: "nine" }, ...shown),
    words,
  );
}

let shownCell = "";

/** Show the panel of the chosen cell, or hide it if no cell is chosen. */
export const showDetail = () => {
  const chosen = chosenCell(),
    panel = byId("detail");
  panel.hidden = !chosen;
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
  const examples = element("div", {}),
    top = bars(grid, cell, (index) => set({ lit: String(index) }));
  panel.replaceChildren(
    element(
      "header",
      {},
      element(
        "h2",
        { textContent: `Row ${grid.row[cell] + 1}, column ${grid.col[cell] + 1}` },
        element("small", { textContent: `${grid.size} × ${grid.size} grid` }),
      ),
      element("button", {
        className: "plain",
        "aria-label": "Close",
        textContent: "✕",
        onclick: () => set({ cell: "" }),
      }),
    ),
    icon,
    numberList(grid, cell),
    run.layers.length > 1
      ? element("button", {
          className: "link",
          textContent: "Light up in all layers",
          title: "Key: b",
          onclick: lightUp,
        })
      : "",
    ...(top.length
      ? [
          element(
            "h3",
            { textContent: "Speaks for" },
            element("small", { textContent: "mean attribution, logits" }),
          ),
          element("div", {}, ...top),
        ]
      : []),
    examples,
  );
  panel.scrollTop = 0;
  fillPicture(icon, grid, cell).catch((error) => warn(error.message));
  if (grid.cropPx) fillExamples(examples, grid, cell).catch((error) => warn(error.message));
  say(wordsFor(grid, cell));
};
