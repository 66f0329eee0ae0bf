// The entry point: starts all parts, in the order of their dependencies.

import { startBeside } from "./beside.js";
import { startBrush } from "./brush.js";
import { numberWords } from "./cells.js";
import { startClasses } from "./choice.js";
import { startColours } from "./colours.js";
import { startControls } from "./controls.js";
import { retryFailed, run } from "./data.js";
import { startDrawing } from "./draw.js";
import { startFound } from "./found.js";
import { startHistograms } from "./histograms.js";
import { startKeyboard } from "./keyboard.js";
import { startLegend } from "./legend.js";
import { startLists } from "./lists.js";
import { startMeasures } from "./measures.js";
import { startMinimap } from "./minimap.js";
import { byId, element, showSide, warn } from "./page.js";
import { startPointers } from "./pointers.js";
import { startSearch } from "./search.js";
import { followAddress, onChange } from "./state.js";
import { startTalk } from "./talk.js";
import { startTour } from "./tour.js";
import { startTrace } from "./trace.js";

function fillHead() {
  const { run: name, model, weights, images, generated, random, layers, report, pictures } = run;
  byId("run-name").textContent = name;
  const several = layers.length > 1;
  byId("lede").replaceChildren(
    "What ",
    several ? `${layers.length} layers` : "a layer",
    " of ",
    element("bdi", { textContent: model }),
    several ? " respond to in " : " responds to in ",
    `${numberWords(images)} ${generated ? "generated " : ""}images.`,
  );
  byId("alarm").hidden = !random;
  byId("alarm").textContent = `${weights}. This network was never trained: nothing here was learned.`;
  byId("report").hidden = !report;
  byId("units-page").hidden = !run.unitPages;
  byId("directions-page").hidden = !run.atomPages?.length;
  byId("pictures-page").hidden = !report || !pictures;
  byId("pictures-page").textContent = pictures === 1 ? "1 picture" : `${numberWords(pictures ?? 0)} pictures`;
  byId("help-measures").replaceChildren(
    ...run.measures
      .filter(({ help }) => help)
      .flatMap(({ panel, help }) => [element("b", { textContent: panel }), `: ${help} `]),
  );
  byId("find").closest("section").hidden = !run.keys;
  const isTouch = matchMedia("(pointer: coarse)").matches;
  byId("intro-how").textContent = isTouch
    ? "Tap one for its real images, drag to move, pinch to zoom."
    : "Point at one to see its real images, click it for its numbers, drag to move, scroll to zoom.";
}

function start() {
  if (!run) return void warn("viewer/run.js is missing: make this folder again with atlas run.");
  fillHead();
  // Any change but a move of the map allows failed loads to be tried again.
  onChange((names) => {
    if ([...names].some((name) => !["x", "y", "z"].includes(name))) retryFailed();
  });
  startMeasures();
  startPointers();
  startMinimap();
  startKeyboard();
  startControls();
  startLists();
  startLegend();
  startClasses();
  startColours();
  startHistograms();
  startFound();
  startBrush();
  startBeside();
  startSearch();
  startTrace();
  startTour();
  startTalk();
  byId("open-side").onclick = () => showSide(!document.body.classList.contains("side-open"));
  byId("close-side").onclick = () => showSide(false);
  followAddress((isForeign) => {
    if (isForeign) warn("This link is of another map: what it names may lie elsewhere here, or be missing.");
  });
  startDrawing();
}
// Wait for run.js, which the page loads after this script.
addEventListener("DOMContentLoaded", start);
