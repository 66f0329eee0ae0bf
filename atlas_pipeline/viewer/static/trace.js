// A path drawn over the map, and the icons along it ("trace a path" in Carter et al. 2019).

import { toMap } from "./camera.js";
import { chosenCell, gridShown, nameOfCell, topClasses, wordsFor } from "./cells.js";
import { caption, saveFile } from "./controls.js";
import { run } from "./data.js";
import { redraw, theme } from "./draw.js";
import { byId, element, notice, say, warn } from "./page.js";
import { dragMode, takeDrags } from "./pointers.js";
import { cellPicture } from "./sheets.js";
import { onChange, set, state } from "./state.js";

const ICONS = 20; // number of points along a path, as in the paper
const REACH = 1.6; // largest distance of an icon from its point, in cells

/** The path as [[x, y], ...]; [] if there is none or the link is broken. */
export function pathPoints(path = state.path) {
  const flat = path ? path.split(",").map(Number) : [];
  if (flat.length % 2 || !flat.every(Number.isFinite)) return [];
  return flat.filter((_, at) => at % 2 === 0).map((x, at) => [x, flat[2 * at + 1]]);
}

/** `count` points at equal distances along a line; one point if its length is zero. */
export function equidistant(line, count) {
  const lengths = [0];
  for (let n = 1; n < line.length; n++)
    lengths.push(lengths[n - 1] + Math.hypot(line[n][0] - line[n - 1][0], line[n][1] - line[n - 1][1]));
  const total = lengths.at(-1);
  if (!total) return line.slice(0, 1);
  return Array.from({ length: count }, (_, step) => {
    const along = (total * step) / (count - 1),
      next = Math.max(
        1,
        lengths.findIndex((length) => length >= along - 1e-9),
      );
    const share = (along - lengths[next - 1]) / (lengths[next] - lengths[next - 1] || 1);
    return [0, 1].map((axis) => line[next - 1][axis] + share * (line[next][axis] - line[next - 1][axis]));
  });
}

const lineWords = (line) =>
  line
    .flat()
    .map((value) => value.toFixed(4))
    .join(",");

function nearest(grid, [x, y]) {
  let best = -1,
    least = REACH;
  const reach = Math.ceil(REACH),
    atCol = Math.floor(x * grid.size),
    atRow = Math.floor(y * grid.size);
  for (let row = Math.max(0, atRow - reach); row <= Math.min(grid.size - 1, atRow + reach); row++) {
    for (let col = Math.max(0, atCol - reach); col <= Math.min(grid.size - 1, atCol + reach); col++) {
      const cell = grid.at[row * grid.size + col],
        far = Math.hypot(col + 0.5 - x * grid.size, row + 0.5 - y * grid.size);
      if (cell >= 0 && far < least) [best, least] = [cell, far];
    }
  }
  return best;
}

/** The cells along the path, without consecutive duplicates. */
function cellsAlong(grid) {
  const cells = equidistant(pathPoints(), ICONS).map((point) => nearest(grid, point));
  return cells.filter((cell, at) => cell >= 0 && cell !== cells[at - 1]);
}

let drawing = null;
let shownStrip = "";
let strip = [];

export const traceDrag = (phase, x, y) => {
  const at = toMap(x, y);
  if (phase === "start") drawing = [at];
  if (phase === "move" && drawing) drawing.push(at);
  if (phase === "end" && drawing?.length > 1) set({ path: lineWords(equidistant(drawing, ICONS)) });
  if (phase === "end" || phase === "cancel") {
    drawing = null;
    setTrace(false);
  }
  redraw();
};

/** Extend the path to the chosen cell, or to the centre of the visible map, for use without a pointer. */
export const tracePoint = () => {
  const chosen = chosenCell(),
    { grid, cell } = chosen ?? {};
  const at = chosen
    ? [(grid.col[cell] + 0.5) / grid.size, (grid.row[cell] + 0.5) / grid.size]
    : [state.x, state.y];
  set({ path: lineWords([...pathPoints(), at]) });
  say("Point added to the path");
};

function setTrace(on) {
  takeDrags(on ? "trace" : "pan", on ? traceDrag : null);
  byId("trace").setAttribute("aria-pressed", String(on));
  byId("brush").setAttribute("aria-pressed", "false");
  if (on) notice("Draw a line over the map: the icons along it are shown in a row.");
}

export const drawTrace = (target, { left, top, scale }) => {
  const line = drawing ?? pathPoints();
  if (!line.length) return;
  const { accent, paper } = theme(),
    path = new Path2D();
  line.forEach(([x, y], at) => path[at ? "lineTo" : "moveTo"](left + x * scale, top + y * scale));
  Object.assign(target, { lineJoin: "round", lineCap: "round" });
  for (const [colour, width] of [
    [paper, 6],
    [accent, 2.5],
  ]) {
    Object.assign(target, { strokeStyle: colour, lineWidth: width });
    target.stroke(path);
  }
  const [x, y] = line[0];
  target.fillStyle = accent;
  target.beginPath();
  target.arc(left + x * scale, top + y * scale, 5, 0, 7);
  target.fill();
};

/** Fill the strip below the map with the icons along the path, on the shown grid. */
async function fillStrip() {
  const grid = gridShown(),
    { path, crops } = state,
    kind = crops && grid?.cropPx ? "crops" : "icons";
  const count = pathPoints().length;
  // Show the strip for a single point too, because it has the button that removes the path.
  byId("strip").hidden = !count;
  if (!count) return void (shownStrip = "");
  const name = `${grid?.folder}#${path}#${kind}`;
  if (name === shownStrip) return;
  shownStrip = name;
  const cells = grid && count > 1 ? cellsAlong(grid) : [];
  const pictures = await Promise.all(cells.map((cell) => cellPicture(grid, cell, kind)));
  if (name !== shownStrip) return;
  strip = pictures.map((picture, at) => ({
    picture,
    label: topClasses(grid, cells[at])[0]?.label ?? "",
  }));
  byId("strip-words").textContent = cells.length
    ? `${cells.length} icons along the path`
    : count > 1
      ? "No icons along the path"
      : "A path of one point: press t to extend it";
  byId("strip-save").hidden = !cells.length;
  byId("strip-icons").replaceChildren(
    ...strip.map(({ picture, label }, at) => {
      const canvas = element("canvas", {
        width: picture.width,
        height: picture.height,
        "aria-hidden": "true",
      });
      canvas.getContext("2d").drawImage(picture, 0, 0);
      const cell = nameOfCell(grid, cells[at]);
      return element(
        "button",
        {
          "aria-label": `${at + 1}: ${wordsFor(grid, cells[at])}`,
          onclick: () => set({ cell }),
        },
        canvas,
        element("bdi", { textContent: label }),
      );
    }),
  );
}

const SIDE = 160;
const GAP = 8;
const FOOT = 64;

/** Save the strip as PNG: icons in a row, their top classes below, and a caption. */
function saveStrip() {
  const width = strip.length * (SIDE + GAP) + GAP;
  const canvas = element("canvas", { width, height: SIDE + 2 * GAP + FOOT }),
    context = canvas.getContext("2d");
  const { paper, ink, muted } = theme();
  context.fillStyle = paper;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.textAlign = "center";
  strip.forEach(({ picture, label }, at) => {
    const left = GAP + at * (SIDE + GAP);
    context.drawImage(picture, left, GAP, SIDE, SIDE);
    Object.assign(context, { fillStyle: ink, font: "15px system-ui, sans-serif" });
    context.fillText(label, left + SIDE / 2, SIDE + GAP + 22, SIDE);
  });
  Object.assign(context, { fillStyle: muted, textAlign: "left" });
  context.fillText(caption(), GAP, SIDE + GAP + 52, width - 2 * GAP);
  canvas.toBlob((blob) => saveFile(blob, `${run.run}-${state.layer}-path.png`));
}

export const startTrace = () => {
  byId("trace").onclick = () => setTrace(dragMode() !== "trace");
  byId("strip-save").onclick = saveStrip;
  byId("strip-close").onclick = () => set({ path: "" });
  onChange(() => fillStrip().catch((error) => warn(error.message)));
};
export const showStrip = () => fillStrip().catch((error) => warn(error.message));
