// The viewer's state, which links contain. The screen follows from it, and controls change it with set.

import { run } from "./data.js";
import { homePlace } from "./fitting.js";
import { MEASURES } from "./measures.js";

const DEFAULTS = {
  layer: "",
  view: "all",
  x: 0.5,
  y: 0.5,
  z: 1, // centre in the unit square, x right, y down; zoom, 1: the whole map
  grid: 0, // 0: by zoom
  lit: "", // logit index of the highlighted class
  sign: "for",
  strength: 1,
  colour: "",
  labels: true,
  crops: false,
  full: false,
  cell: "", // chosen cell: grid.row.col
  found: "", // selection in all layers: box:..., image:..., label:..., predicted:... or right:0
  image: "", // number of the image whose panel is open
  beside: "", // layer of the second map
  path: "", // x,y,x,y,...
  only: "", // filters: name~low~high;...
  stops: "", // the stops of a talk, one a line: see stops.js
};
export const PLACE = ["x", "y", "z"];
const REPLACED = [...PLACE, "strength", "only"]; // changes of these add no entry to the browser's history
export let state = { ...DEFAULTS };
const listeners = [];

/** Call listener(names, before) after every change: the names that changed, and the previous state. */
export const onChange = (listener) => listeners.push(listener);

/** Change entries of the state. Values that the run does not have, such as unknown layers, are corrected. */
export const set = (changes) => {
  const before = state;
  const after = validState({ ...before, ...changes });
  const names = new Set(Object.keys(after).filter((name) => after[name] !== before[name]));
  if (!names.size) return;
  state = after;
  for (const listener of listeners) listener(names, before);
};

const finite = (text, fallback) => (Number.isFinite(Number(text)) && text !== "" ? Number(text) : fallback);
const rounded = (value) => (typeof value === "number" ? String(Number(value.toFixed(5))) : String(value));

function readValue(name, text) {
  const fallback = DEFAULTS[name];
  if (typeof fallback === "number") return finite(text, fallback);
  return typeof fallback === "boolean" ? text === "true" : text;
}

/** The identifier of the map of a layer and view; "" if there is no such map. */
function mapOf({ layer, view }) {
  const named = layer ? run.layers.find(({ name }) => name === layer) : run.layers[0];
  return named?.views.find(({ name }) => name === view)?.map ?? "";
}

/** The state as the fragment of an address, without defaults. */
export const addressOf = (shown) => {
  const parts = new URLSearchParams({ map: mapOf(shown) });
  for (const [name, value] of Object.entries(shown)) {
    if (value !== DEFAULTS[name]) parts.set(name, rounded(value));
  }
  return parts.toString();
};

/** The fragment of an address -> {state, map, hasPlace}. Unknown names are ignored; missing ones have defaults. */
export const stateOf = (address) => {
  const parts = new URLSearchParams(address.replace(/^#/, ""));
  const named = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS)) {
    if (parts.has(name)) named[name] = readValue(name, parts.get(name));
  }
  return { state: named, map: parts.get("map"), hasPlace: PLACE.some((name) => parts.has(name)) };
};

/** A state with invalid values corrected: a known layer and view, one of its grids, numbers within bounds. */
export const validState = (asked) => {
  const layers = run.layers;
  const layer = layers.find((one) => one.name === asked.layer) ?? layers[0];
  const view = layer.views.find((one) => one.name === asked.view) ?? layer.views[0];
  const within = (value, low, high) => Math.min(high, Math.max(low, value)),
    z = within(asked.z, 0.5, 400),
    off = Math.max(0.2, 0.5 / z); // an edge of the map stays on the screen, or near to it
  return {
    ...asked,
    layer: layer.name,
    view: view.name,
    grid: view.grids.some((one) => one.size === asked.grid) ? asked.grid : 0,
    x: within(asked.x, -off, 1 + off),
    y: within(asked.y, -off, 1 + off),
    z,
    strength: within(asked.strength, 0.25, 8),
    sign: asked.sign === "against" ? "against" : "for",
    colour: Object.hasOwn(MEASURES, asked.colour) ? asked.colour : "",
    lit: /^\d+$/.test(asked.lit) ? asked.lit : "",
    cell: /^\d+\.\d+\.\d+$/.test(asked.cell) ? asked.cell : "",
    image: /^\d+$/.test(asked.image) ? asked.image : "",
    beside:
      asked.beside !== layer.name && layers.some(({ name }) => name === asked.beside) ? asked.beside : "",
    path: /^-?[\d.]+(,-?[\d.]+)*$/.test(asked.path) ? asked.path : "",
  };
};

/** The descriptions of the shown layer and view. */
export const layerShown = () => run.layers.find((one) => one.name === state.layer);
/** The view of a layer that fits the shown one: of the same name, or of all activations. */
export const viewIn = (name) => {
  const { views } = run.layers.find((one) => one.name === name);
  return views.find((one) => one.name === state.view) ?? views[0];
};
export const viewShown = () => layerShown().views.find((one) => one.name === state.view);

let timer = 0;
let isStep = false; // whether a change since the last write deserves its own entry in the history
let isFollowing = false;
let writtenHash = null; // null: nothing was written yet; an empty hash is valid too

/** Whether the address that was followed last names a place. */
export let isPlaced = false;

function write() {
  const how = isStep ? "pushState" : "replaceState";
  timer = 0;
  isStep = false;
  if (location.hash === "#" + addressOf(state)) return;
  writtenHash = "#" + addressOf(state);
  try {
    history[how](null, "", writtenHash);
  } catch {
    // Some browsers do not let a page at file:// rewrite its address, but all allow a jump within the page.
    if (how === "pushState") location.hash = writtenHash;
    else location.replace(writtenHash);
  }
}

/**
 * Read the state from the address, and keep both in sync. Browsers limit how often it can be written. Moves of
 * the map and the intensity replace the entry in the history; every other change adds one, so Back undoes it.
 */
export const followAddress = (onForeign) => {
  const take = () => {
    if (location.hash === writtenHash) return;
    writtenHash = location.hash;
    clearTimeout(timer);
    timer = 0;
    isStep = false;
    const { state: named, map, hasPlace } = stateOf(location.hash);
    onForeign(Boolean(map) && map !== mapOf(named));
    isPlaced = hasPlace;
    isFollowing = true;
    set(hasPlace ? named : { ...named, ...homePlace() });
    isFollowing = false;
  };
  take();
  addEventListener("hashchange", take);
  onChange((names) => {
    if (isFollowing) return;
    isStep ||= [...names].some((name) => !REPLACED.includes(name));
    timer ||= setTimeout(write, 300);
  });
};

/** The address of the present state; it is written without delay. */
export const currentLink = () => {
  clearTimeout(timer);
  write();
  return location.href;
};
