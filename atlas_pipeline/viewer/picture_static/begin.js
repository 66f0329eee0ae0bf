// The start of the page: shows the layer, the position and the classes that the address names, and follows it.

import { addressOf, placeOf } from "./address.js";
import { cachedFile, decodedImage, run, unpack } from "./data.js";
import { columnsOf, difference } from "./evidence.js";
import { cellSection, channelSection, groupSection, regionSection, sumSection } from "./evidence_view.js";
import { drawGround, drawHeat, drawIcons, drawMark, mapCanvas, onPosition } from "./maps.js";
import { byId, element, say, warn } from "./page.js";
import { placeSection } from "./place_view.js";
import { openedSheet, short } from "./sheets_of_units.js";

let shown = 0;
let drawn = null; // the address of the page that is drawn
let place = null;
let size = null; // of the layer shown

/** Whether the page that the address names is drawn. */
export const isDrawn = () => drawn === location.hash;

const go = (changes) => (location.hash = addressOf({ ...place, ...changes }));
const goTo = (position) => go({ position: [Math.floor(position / size.width), position % size.width] });

function trail() {
  const steps = [
    element("a", { href: "../../index.html" }, element("bdi", { textContent: run.run })),
    element("a", { href: "../../report.html#pictures", textContent: "pictures" }),
    element("span", { "aria-current": "page" }, element("bdi", { textContent: run.file })),
  ];
  byId("trail").replaceChildren(element("ol", {}, ...steps.map((step) => element("li", {}, step))));
  byId("layers").replaceChildren(
    ...run.layers.map((layer) => {
      const item = element("a", { href: addressOf({ ...place, layer, position: null }), textContent: layer });
      if (layer === place.layer) item.setAttribute("aria-current", "true");
      return item;
    }),
  );
}

function choice(id, words, options, value, changed) {
  const select = element("select", { id, onchange: (event) => changed(event.target.value) });
  select.append(...options.map(([key, name]) => element("option", { value: key, textContent: name })));
  select.value = value;
  return element("label", {}, words, select);
}

function choices(values, columns) {
  const classes = values.classes.map((one) => [String(one.index), one.label]),
    chosen = values.classes[columns.at],
    other = columns.minus === null ? "" : String(values.classes[columns.minus].index);
  return element(
    "div",
    { className: "choices" },
    choice("class", "Class", classes, String(chosen.index), (value) => go({ class: Number(value) })),
    choice(
      "minus",
      "compared with",
      [["", "nothing"], ...classes.filter(([index]) => index !== String(chosen.index))],
      other,
      (value) => go({ minus: value === "" ? null : Number(value) }),
    ),
    choice(
      "by",
      "Attribution by",
      [
        ["gradient", "the gradient"],
        ["path", "a path from zero"],
      ],
      place.by,
      (by) => go({ by }),
    ),
  );
}

const captioned = (canvas, words) => element("figure", {}, canvas, element("figcaption", { textContent: words }));

async function beforeFigure(values, position, bitmap) {
  const { before } = values;
  if (!before) return [];
  if (before.why)
    return [
      element("p", {
        className: "note",
        textContent: `Attribution to positions of ${before.layer} is left out: ${before.why}.`,
      }),
    ];
  const levels = await unpack(before.levels),
    num = before.height * before.width,
    canvas = mapCanvas(`Attribution of the marked position to positions of ${before.layer}`);
  drawGround(canvas, bitmap);
  drawHeat(canvas, before, [...levels.subarray(position * num, (position + 1) * num)]);
  return [
    captioned(
      canvas,
      `What the marked position is made of: positions of ${before.layer}, strongest ${short(before.most[position])}.`,
    ),
  ];
}

async function mapsOf(values, attribution, position, bitmap, sheet) {
  const heat = mapCanvas("Attribution of each position to the chosen class"),
    icons = mapCanvas("The icon of each position's cell, its area by the length of the activation");
  drawGround(heat, bitmap);
  drawHeat(heat, values, attribution);
  if (sheet) drawIcons(icons, values, sheet);
  for (const canvas of [heat, icons]) {
    drawMark(canvas, values, position);
    onPosition(canvas, values, goTo);
  }
  return element(
    "div",
    { id: "maps", className: "maps", role: "group", tabIndex: 0, "aria-label": "Maps; arrow keys move the mark" },
    captioned(heat, "Attribution to the class: red speaks for it, blue against it. Click a position, or move the mark with the arrow keys."),
    captioned(icons, "Each position as the icon of the cell it lies on; the area shows the length of its activation."),
    ...(await beforeFigure(values, position, bitmap)),
  );
}

async function contentOf(values, bitmap) {
  const columns = columnsOf(values, place),
    { positions, channels } = values[place.by],
    attribution = difference(positions, columns),
    largest = attribution.reduce((best, one, n) => (Math.abs(one) > Math.abs(attribution[best]) ? n : best), 0),
    isInside = place.position && place.position[0] < values.height && place.position[1] < values.width,
    position = isInside ? place.position[0] * values.width + place.position[1] : largest,
    sheet = values.cellIcons ? await openedSheet(values.cellIcons) : null,
    { label } = values.classes[columns.at],
    against = columns.minus === null ? "" : ` less that to ${values.classes[columns.minus].label}`;
  size = { height: values.height, width: values.width, position };
  const isSingle = values.height * values.width === 1;
  return [
    element("p", { className: "kicker", textContent: `${run.model}, one picture` }),
    element("h1", {}, element("bdi", { textContent: run.file })),
    ...(run.note ? [element("p", { className: "note", textContent: `${run.note}.` })] : []),
    element("p", {
      className: "lede",
      textContent: values.classes.map((one) => `${one.label} ${(100 * one.probability).toFixed(1)} %`).join(", "),
    }),
    choices(values, columns),
    ...(isSingle
      ? [
          element("p", {
            className: "note",
            textContent: "This layer has a single position: there is no map of it, and no groups by place.",
          }),
        ]
      : [await mapsOf(values, attribution, position, bitmap, sheet)]),
    ...(await placeSection(
      values,
      position,
      sheet,
      `Its attribution to ${label}${against}: ${short(attribution[position])} logits.`,
    )),
    ...(sheet ? cellSection(values, attribution, sheet) : []),
    ...regionSection(values, attribution),
    ...channelSection(values, difference(channels, columns)),
    ...(await groupSection(values, place, columns, bitmap)),
    ...sumSection(values),
  ];
}

let picture = null;

async function showPage() {
  const mine = ++shown;
  const before = place,
    address = location.hash;
  drawn = null;
  place = placeOf(address);
  if (place.isLost) warn("The address names a layer that is not here.");
  try {
    const values = await cachedFile(`layer-${run.layers.indexOf(place.layer)}.js`);
    picture ??= await decodedImage(run.picture);
    const content = await contentOf(values, picture);
    if (mine !== shown) return;
    trail();
    const focused = document.activeElement.id;
    byId("page").replaceChildren(...content);
    if (focused) byId(focused)?.focus({ preventScroll: true });
    document.title = `${run.file} · ${place.layer} · ${run.run}`;
    say(before?.layer === place.layer ? byId("place").textContent : `${run.file}, ${place.layer}`);
    drawn = address;
  } catch (error) {
    warn(error.message);
  }
}

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

function move(event) {
  const step = STEPS[event.key];
  if (!step || !size || !event.target.closest("#maps") || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  const [row, col] = [Math.floor(size.position / size.width) + step[0], (size.position % size.width) + step[1]];
  if (row < 0 || col < 0 || row >= size.height || col >= size.width) return;
  size.position = row * size.width + col; // a second press goes on from here, drawn or not
  go({ position: [row, col] });
}

addEventListener("DOMContentLoaded", () => {
  if (run.random) {
    byId("alarm").textContent = `Random weights: ${run.weights}. The network was never trained.`;
    byId("alarm").hidden = false;
  }
  addEventListener("hashchange", showPage);
  addEventListener("keydown", move);
  showPage();
});
