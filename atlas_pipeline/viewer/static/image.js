// The panel of an image: whole, with its sampled positions, its label and predicted class, and its cell in each layer.

import { cellAt, gridIn, numberWords } from "./cells.js";
import { run } from "./data.js";
import { fillIcon, headingOf } from "./evidence.js";
import { theme } from "./draw.js";
import { placesOf } from "./found.js";
import { keepImagePlaces } from "./linked.js";
import { byId, element, say, warn } from "./page.js";
import { set, state, viewIn } from "./state.js";
import { goTo } from "./travel.js";
import { activationsOf, factsOf, knownImages, wholeImages, wholePicture } from "./whole.js";

const PICTURE_PX = 612; // side of the picture's canvas
const MOST_ICONS = 4; // icons of a layer, with several positions an image

/**
 * Facts about an image: {image, key, label, predicted?, probability?, isRight, layers: name ->
 * [{x, y, row?, col?, height?, width?}], picture: a promise of a canvas, or null}; null: nothing.
 */
export const imageFacts = async (image) => {
  const [all, whole] = await Promise.all([run.keys ? knownImages() : null, wholeImages()]),
    slot = all?.slots.get(image),
    shown = whole?.slotOf.get(image);
  if (slot === undefined && shown === undefined) return null;
  const label =
    slot === undefined
      ? ""
      : (all.labelNames[all.label[slot]] ?? (all.label[slot] < 0 ? "" : `label ${all.label[slot]}`));
  const facts =
    shown === undefined ? { image, key: all.key[slot], label, isRight: null } : factsOf(whole, shown);
  const layers = new Map();
  for (const { name } of run.layers) {
    const activations = shown === undefined ? [] : activationsOf(whole, shown, name);
    layers.set(name, activations.length || slot === undefined ? activations : await placesOfSlot(name, slot));
  }
  return { ...facts, layers, picture: shown === undefined ? null : wholePicture(whole, shown) };
};

async function placesOfSlot(layer, slot) {
  const places = await placesOf(layer, viewIn(layer).name);
  return [...places.slot.keys()]
    .filter((n) => places.slot[n] === slot)
    .map((n) => ({ x: places.x[n], y: places.y[n] }));
}

/** The spatial positions of activations as pixels of a square of a side: [{left, top, width, height, x, y}]. */
export const marksOf = (activations, side) =>
  activations
    .filter(({ row }) => row !== undefined)
    .map(({ row, col, height, width }) => ({
      left: (col * side) / width,
      top: (row * side) / height,
      width: side / width,
      height: side / height,
      x: ((col + 0.5) * side) / width,
      y: ((row + 0.5) * side) / height,
    }));

function drawPicture(canvas, picture, activations) {
  Object.assign(canvas, { width: PICTURE_PX, height: PICTURE_PX });
  const target = canvas.getContext("2d");
  target.imageSmoothingQuality = "high";
  // The pixels of a small image are seen as such.
  target.imageSmoothingEnabled = picture.width > 64;
  target.drawImage(picture, 0, 0, PICTURE_PX, PICTURE_PX);
  marksOf(activations, PICTURE_PX).forEach(({ left, top, width, height, x, y }, at, all) => {
    for (const [colour, line] of [
      ["#ffffff", 7],
      [theme().mark, 3.5],
    ]) {
      Object.assign(target, { strokeStyle: colour, lineWidth: line });
      target.strokeRect(left, top, width, height);
      target.beginPath();
      target.arc(x, y, 9, 0, 7);
      target.stroke();
    }
    if (all.length < 2) return;
    Object.assign(target, {
      font: "700 26px system-ui, sans-serif",
      lineWidth: 6,
      strokeStyle: "#ffffff",
      fillStyle: theme().mark,
    });
    target.strokeText(String(at + 1), x + 14, y - 12);
    target.fillText(String(at + 1), x + 14, y - 12);
  });
}

const positionWords = ({ row, col, height, width }) =>
  row === undefined ? "" : `row ${row + 1}, column ${col + 1} of ${height} × ${width}`;

/** The words of an image's label and predicted class: [{name, value, beside}]. */
export const imageRows = ({ label, predicted, probability, isRight }) => {
  const rows = [{ name: "Label", value: label || "none", beside: "" }];
  if (predicted === undefined)
    return [
      ...rows,
      { name: "Predicted", value: "not known", beside: "the network was not asked about this image again" },
    ];
  const verdict = isRight === null ? "" : isRight ? ", as labelled" : ", not as labelled";
  return [
    ...rows,
    {
      name: "Predicted",
      value: predicted,
      beside: `probability ${Math.round(100 * probability)} %${verdict}`,
      isWrong: isRight === false,
    },
  ];
};

function layerRow(name, activations) {
  const view = viewIn(name),
    grid = view.grids.length
      ? gridIn(name, view.name, view.grids.find(({ size }) => size === state.grid) ?? view.grids[0])
      : null;
  const icons = element("span", { className: "icons" }),
    words = element("span", {}, element("bdi", { textContent: name }));
  const row = element("button", { className: "entry", onclick: () => goTo(name, state.view) }, icons, words);
  row.dataset.layer = name;
  row.dataset.ready = String(grid !== null || !view.grids.length);
  row.setAttribute("aria-pressed", String(name === state.layer));
  const cells = grid ? activations.map(({ x, y }) => cellAt(grid, x, y)) : [];
  for (const cell of cells.slice(0, MOST_ICONS)) {
    if (cell < 0) continue;
    const icon = element("canvas", { className: "icon" });
    icons.append(icon);
    fillIcon(icon, grid, cell);
  }
  const title = (cell) => (cell < 0 ? "no icon: too few activations there" : headingOf(grid, cell).title);
  const said = !activations.length
    ? "not sampled in this layer"
    : grid
      ? [...new Set(cells.map(title))].join("; ")
      : view.missing || "…";
  words.append(element("small", { textContent: said }));
  const where = activations.map(positionWords).filter(Boolean).slice(0, MOST_ICONS).join("; ");
  if (where) words.append(element("small", { textContent: where }));
  return row;
}

let shown = { name: "", facts: null };

/** Fill or update the rows of the layers. */
function showTracks({ layers }) {
  const list = byId("image-layers");
  if (!list) return;
  for (const { name } of run.layers) {
    const old = list.querySelector(`[data-layer="${CSS.escape(name)}"]`),
      isCurrent = String(name === state.layer);
    if (old?.dataset.ready === "true" && old.getAttribute("aria-pressed") === isCurrent) continue;
    const made = layerRow(name, layers.get(name));
    if (old) old.replaceWith(made);
    else list.append(made);
  }
}

function fillImage(panel, facts) {
  const { image, key, picture, layers } = facts,
    here = layers.get(state.layer) ?? [];
  const canvas = element("canvas", { className: "whole", role: "img" }),
    below = element("figcaption", {});
  const what = picture
    ? `As the network receives it; the square is the sampled position in ${state.layer}, ${here.map(positionWords).join("; ")}`
    : "Its picture is not in this folder: of many images, only some that appear as patches are shown whole";
  canvas.setAttribute("aria-label", `Image ${image}, ${here.map(positionWords).join("; ")} marked`);
  below.textContent = what;
  const close = element("button", {
    className: "plain",
    "aria-label": "Close",
    textContent: "✕",
    onclick: () => set({ image: "", found: "" }),
  });
  const title = element("h2", { className: "cell-title" }, element("bdi", { textContent: key }));
  panel.replaceChildren(
    element(
      "header",
      {},
      element("div", {}, element("p", { className: "kicker", textContent: `Image ${image}` }), title),
      close,
    ),
    state.cell
      ? element("button", {
          className: "link back",
          textContent: "← Back to the cell",
          onclick: () => set({ image: "" }),
        })
      : "",
    element(
      "div",
      { className: "image-facts" },
      element("figure", { className: "of-image" }, picture ? canvas : "", below),
      element(
        "dl",
        { className: "numbers" },
        ...imageRows(facts).map(({ name, value, beside, isWrong }) =>
          element(
            "div",
            {},
            element("dt", { textContent: name }),
            element(
              "dd",
              { className: isWrong ? "wrong" : "" },
              element("bdi", { textContent: value }),
              beside ? element("small", { textContent: beside }) : null,
            ),
          ),
        ),
      ),
    ),
    element(
      "h3",
      { textContent: "Its cells, layer by layer" },
      element("small", { textContent: "click one to go there; its activation is ringed on the map" }),
    ),
    element("div", { id: "image-layers", role: "group", "aria-label": "The image's cells by layer" }),
    run.layers.length > 1 && !state.beside
      ? element("button", {
          className: "link",
          textContent: "Follow it in two layers side by side",
          title: "Key: l",
          onclick: () => byId("two-maps").click(),
        })
      : "",
  );
  panel.scrollTop = 0;
  showTracks(facts);
  picture?.then((found) => drawPicture(canvas, found, here)).catch((error) => warn(error.message));
  say(
    `Image ${image}, ${key}. ${imageRows(facts)
      .map(({ name, value }) => `${name}: ${value}`)
      .join(", ")}`,
  );
}

/** Show the panel of the chosen image; called again whenever the state changes or a grid arrives. */
export const showImage = (panel) => {
  const image = Number(state.image),
    name = `${image}#${state.layer}#${state.beside !== ""}#${state.cell !== ""}`;
  panel.setAttribute("aria-label", "The chosen image");
  if (shown.name === name) return void (shown.facts && showTracks(shown.facts));
  shown = { name, facts: null };
  const mine = shown;
  imageFacts(image)
    .then((facts) => {
      if (shown !== mine) return;
      if (!facts) {
        warn(`Image ${numberWords(image)} is not among those that can be found.`);
        return void set({ image: "" });
      }
      mine.facts = facts;
      keepImagePlaces(image, facts.layers);
      fillImage(panel, facts);
    })
    .catch((error) => warn(error.message));
};

/** Forget the panel, which shows something else now. */
export const forgetImage = () => (shown = { name: "", facts: null });
