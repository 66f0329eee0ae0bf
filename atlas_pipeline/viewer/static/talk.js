// Talk mode: the list of stops, and the stops shown in turn on the whole screen with their captions.

import { flyTo } from "./camera.js";
import { caption } from "./controls.js";
import { byId, element, notice, say, showSide } from "./page.js";
import { onChange, PLACE, set, state } from "./state.js";
import { addressOfStop, movedStop, stopsOf, textOfStops, viewOfStop } from "./stops.js";
import { saveStops } from "./talk_pictures.js";

let shownStop = -1; // number of the stop that is shown; -1: no talk is on

const stops = () => stopsOf(state.stops);
const keepStops = (changed) => set({ stops: textOfStops(changed) });

function addStop() {
  const field = byId("stop-caption");
  keepStops([...stops(), { words: field.value || caption(), address: addressOfStop(state) }]);
  field.value = "";
  say(`Stop ${stops().length} added`);
}

/** Show a stop: the map flies there within a layer, and changes at once to another layer or view. */
function showStop(number) {
  const stop = stops()[number];
  if (!stop) return;
  const view = viewOfStop(stop),
    isHere = view.layer === state.layer && view.view === state.view;
  const here = Object.fromEntries(PLACE.map((name) => [name, state[name]]));
  set(isHere ? { ...view, ...here } : view);
  if (isHere) flyTo(Object.fromEntries(PLACE.map((name) => [name, view[name]])));
  if (shownStop >= 0) shownStop = number;
  byId("talk-caption").textContent = stop.words;
  byId("talk-number").textContent = `${number + 1} / ${stops().length}`;
  say(stop.words);
}

function beginTalk() {
  if (!stops().length) return void notice("Add a view first: it becomes the first stop.");
  shownStop = 0;
  showSide(false);
  document.body.classList.add("talking");
  byId("talk").hidden = false;
  // A browser may refuse the full screen; the talk then fills the window.
  document.documentElement.requestFullscreen?.().catch(() => {});
  byId("map").focus();
  showStop(0);
}

function endTalk() {
  shownStop = -1;
  document.body.classList.remove("talking");
  byId("talk").hidden = true;
  if (document.fullscreenElement) document.exitFullscreen();
}

const stepBy = (by) => showStop(Math.min(stops().length - 1, Math.max(0, shownStop + by)));
const FORWARD = ["ArrowRight", "ArrowDown", "PageDown", " "];
const BACKWARD = ["ArrowLeft", "ArrowUp", "PageUp"];

/** Take the keys of a talk before the map does. */
function takeKey(event) {
  if (shownStop < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "Escape") endTalk();
  else if (FORWARD.includes(event.key)) stepBy(1);
  else if (BACKWARD.includes(event.key)) stepBy(-1);
  else return;
  event.preventDefault();
  event.stopPropagation();
}

function stopItem({ words }, number, all) {
  const small = (textContent, label, onclick, disabled = false) =>
    element("button", { className: "plain", textContent, "aria-label": label, onclick, disabled });
  return element(
    "li",
    {},
    element(
      "button",
      { className: "stop", onclick: () => showStop(number) },
      element("bdi", { textContent: words }),
    ),
    small("↑", `Move up: ${words}`, () => keepStops(movedStop(all, number, number - 1)), number === 0),
    small("✕", `Remove: ${words}`, () => keepStops(all.filter((_, at) => at !== number))),
  );
}

function showStops() {
  const all = stops();
  byId("stops").replaceChildren(...all.map(stopItem));
  byId("stops-count").textContent = all.length ? `${all.length} stop${all.length === 1 ? "" : "s"}` : "";
  byId("talk-begin").disabled = byId("stops-save").disabled = !all.length;
}

export const startTalk = () => {
  showStops();
  byId("stop-add").onclick = addStop;
  byId("stop-caption").addEventListener("keydown", (event) => {
    if (event.key === "Enter") addStop();
  });
  byId("talk-begin").onclick = beginTalk;
  byId("talk-end").onclick = endTalk;
  byId("talk-next").onclick = () => stepBy(1);
  byId("talk-back").onclick = () => stepBy(-1);
  byId("stops-save").onclick = () => saveStops(stops());
  addEventListener("keydown", takeKey, true);
  document.addEventListener("fullscreenchange", () => {
    // Escape on a full screen only reaches the browser.
    if (!document.fullscreenElement && shownStop >= 0) endTalk();
  });
  onChange((names) => {
    if (names.has("stops")) showStops();
  });
};
