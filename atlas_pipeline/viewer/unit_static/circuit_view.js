// The weights of a unit: what excites and inhibits it, and what it excites and inhibits, as a small circuit.

import { addressOf, layerNamed, titleOf } from "./address.js";
import { element } from "./page.js";
import { short, square } from "./sheets_of_units.js";

const SVG = "http://www.w3.org/2000/svg";
const ROW_PX = 64;
const LINES_PX = 150;

function vector(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  return made;
}

/** A kernel as a picture: one square a position, opaque where the weight is large. */
function kernelPicture(values, rows, most) {
  const cols = values.length / rows,
    canvas = element("canvas", { className: "kernel", width: cols, height: rows, "aria-hidden": "true" }),
    context = canvas.getContext("2d"),
    style = getComputedStyle(document.documentElement);
  canvas.style.width = `${(34 * cols) / Math.max(rows, cols)}px`;
  const colours = [style.getPropertyValue("--accent"), style.getPropertyValue("--against")];
  values.forEach((value, at) => {
    context.globalAlpha = most ? Math.abs(value) / most : 0;
    context.fillStyle = colours[value > 0 ? 0 : 1];
    context.fillRect(at % cols, Math.floor(at / cols), 1, 1);
  });
  return canvas;
}

function endOf(layer, [unit, strength, net, rows, kernel, slot], sheet, pages) {
  const most = Math.max(...kernel.map(Math.abs)),
    title = titleOf(layer, unit),
    words = `${title}, ${net > 0 ? "excites" : "inhibits"}, weight ${short(net)}`;
  const inside = [
    slot < 0 || !sheet ? element("span", { className: "blank" }) : square(sheet, slot),
    kernelPicture(kernel, rows, most),
    element(
      "span",
      { className: "end-words" },
      element("bdi", { textContent: title }),
      element("small", { textContent: `${net > 0 ? "+" : "−"}${short(Math.abs(strength))}` }),
    ),
  ];
  return pages.has(unit)
    ? element("a", { className: "end", href: addressOf(layer, unit), "aria-label": words }, ...inside)
    : element("div", { className: "end", title: words }, ...inside);
}

/** Lines from the ends to the unit, as thick as the weights are strong. */
function lines(list, isBefore) {
  const height = Math.max(1, list.length) * ROW_PX,
    most = Math.max(...list.map((one) => one[1])),
    drawing = vector("svg", { width: LINES_PX, height, "aria-hidden": "true" });
  list.forEach(([, strength, net], number) => {
    const at = (number + 0.5) * ROW_PX,
      [from, to] = isBefore ? [at, height / 2] : [height / 2, at];
    drawing.append(
      vector("path", {
        d: `M0 ${from}C${LINES_PX / 2} ${from} ${LINES_PX / 2} ${to} ${LINES_PX} ${to}`,
        class: net > 0 ? "excites" : "inhibits",
        "stroke-width": 1 + (4 * strength) / most,
      }),
    );
  });
  return drawing;
}

/** The weights as people write a circuit: ``4c:447 <- 4b:373, 4b:237``. */
export const circuitWords = (layer, unit, { before, after }) => {
  const strongest = (side) =>
    side.list
      .filter((one) => one[2] > 0)
      .slice(0, 3)
      .map((one) => titleOf(side.layer, one[0]))
      .join(", ");
  const parts = [titleOf(layer, unit)];
  if (before.list.length && strongest(before)) parts.push(`<- ${strongest(before)}`);
  if (after.list.length && strongest(after)) parts.push(`-> ${strongest(after)}`);
  return parts.join(" ");
};

const reasonOf = (side, words) => side.why || (side.layer ? "" : `There is no block ${words} this layer.`);

/** The section with the weights. pages: by layer the units that have pages; icons: sheets by name. */
export const circuitSection = (values, icon, sheet, pages) => {
  const { weights } = values;
  if (!weights) return [];
  const { before, after } = weights;
  const column = (side) =>
    element(
      "div",
      { className: "ends" },
      ...side.list.map((one) => endOf(side.layer, one, sheet, pages.get(side.layer) ?? new Set())),
    );
  const middle = element(
    "div",
    { className: "middle" },
    icon ?? element("span", { className: "blank" }),
    element("b", {}, element("bdi", { textContent: titleOf(values.layer, values.unit) })),
  );
  return [
    element("h2", { textContent: "What it is built from, and what it builds" }),
    element("p", {
      className: "note",
      textContent:
        "Weights multiplied out along all paths between blocks, as if every ReLU passed everything on and every " +
        "max-pool were an average. The number is the sum of the kernel's absolute values; the little picture is " +
        "the kernel. Solid lines excite, dashed lines inhibit.",
    }),
    element("p", { className: "written", textContent: circuitWords(values.layer, values.unit, weights) }),
    ...[reasonOf(before, "before"), reasonOf(after, "after")]
      .filter((one) => one)
      .map((one) => element("p", { className: "note", textContent: one })),
    element(
      "div",
      { className: "circuit", role: "group", "aria-label": "Circuit", tabIndex: 0 },
      column(before),
      before.list.length ? lines(before.list, true) : "",
      middle,
      after.list.length ? lines(after.list, false) : "",
      column(after),
    ),
  ];
};

/** The layers that a unit's weights lead to and that have pages in this run. */
export const layersBeside = (values) =>
  ["before", "after"]
    .map((side) => values.weights?.[side].layer)
    .filter((layer) => layer && layerNamed(layer));
