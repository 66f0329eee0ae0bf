// The stops of a talk as pictures of 16:9: the map with its legends, and the caption below it.

import { cameraAt } from "./camera.js";
import { gridShown, gridSize } from "./cells.js";
import { caption, saveFile } from "./controls.js";
import { run } from "./data.js";
import { paint, redraw, theme } from "./draw.js";
import { holdPlace } from "./fitting.js";
import { drawLegends, heightOfLegends } from "./legend_picture.js";
import { viewNames } from "./names.js";
import { attributionOf } from "./overlay.js";
import { element, notice, warn } from "./page.js";
import { isComplete } from "./sheets.js";
import { set, state, viewShown } from "./state.js";
import { viewOfStop } from "./stops.js";

const SLIDE = { width: 1920, height: 1080 };
const FOOT_PX = 130; // height of the caption below the map
const LEGEND_WIDTH_PX = 560;
const MOST_FRAMES = 600; // waited for what cannot be loaded
const FONT_OF_SLIDE = 'system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif';

const twoFrames = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));

/** Whether everything that the shown view asks for is loaded. */
function isAllThere() {
  const grid = gridShown();
  if (gridSize() && grid?.size !== gridSize()) return false;
  if (viewShown().names && !viewNames()) return false;
  return isComplete() && (!grid || state.lit === "" || attributionOf(grid) !== null);
}

function drawFoot(context, words) {
  const { paper, ink, muted } = theme(),
    top = SLIDE.height - FOOT_PX;
  Object.assign(context, { fillStyle: paper, textAlign: "left", textBaseline: "middle" });
  context.fillRect(0, top, SLIDE.width, FOOT_PX);
  Object.assign(context, { fillStyle: ink, font: `650 40px ${FONT_OF_SLIDE}` });
  context.fillText(words, 48, top + 46, SLIDE.width - 96);
  Object.assign(context, { fillStyle: muted, font: `20px ${FONT_OF_SLIDE}` });
  context.fillText(caption(), 48, top + 96, SLIDE.width - 96);
}

function drawLegendBox(context) {
  const height = heightOfLegends();
  if (!height) return;
  const top = SLIDE.height - FOOT_PX - height - 12;
  context.fillStyle = theme().paper;
  context.fillRect(0, top, LEGEND_WIDTH_PX + 64, height + 12);
  drawLegends(context, 48, top, LEGEND_WIDTH_PX);
}

/** The picture of a stop as a canvas; the page shows the stop meanwhile. */
async function slideOf(stop) {
  set(viewOfStop(stop));
  const canvas = element("canvas", SLIDE),
    context = canvas.getContext("2d");
  const draw = () => paint(context, cameraAt(state, SLIDE.width, SLIDE.height - FOOT_PX), 1, "high");
  let frame = 0;
  do {
    draw();
    redraw();
    await twoFrames();
  } while (!isAllThere() && frame++ < MOST_FRAMES);
  draw();
  drawLegendBox(context);
  drawFoot(context, stop.words);
  return canvas;
}

let isAtWork = false;

async function saveAll(stops) {
  const before = state;
  for (const [number, stop] of stops.entries()) {
    const canvas = await slideOf(stop),
      blob = await new Promise((done) => canvas.toBlob(done));
    saveFile(blob, `${run.run}-stop-${String(number + 1).padStart(2, "0")}.png`);
  }
  set(before);
  notice(`${stops.length} picture${stops.length === 1 ? "" : "s"} saved.`);
}

/** Save every stop as a PNG of 1920 x 1080. */
export const saveStops = (stops) => {
  if (isAtWork) return;
  isAtWork = true;
  // A picture has its legend elsewhere than the page.
  holdPlace(true);
  saveAll(stops)
    .catch((error) => warn(error.message))
    .finally(() => {
      isAtWork = false;
      holdPlace(false);
    });
};
