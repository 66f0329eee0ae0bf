// All that a link holds. Everything on the screen follows from the state; every control changes it by set.

import { run } from "./data.js";
import { MEASURES } from "./measures.js";

const DEFAULTS = {
  layer: "",
  view: "all",
  x: 0.5,
  y: 0.5,
  z: 1, // centre in the unit square, x right, y down; zoom, 1: the whole map
  grid: 0, // 0: by zoom
  lit: "", // class: its index among the network's
  sign: "for",
  strength: 1,
  colour: "",
  labels: true,
  crops: false,
  full: false,
  cell: "", // grid.row.col
  found: "", // box:..., image:..., label:...: what is lit up in all layers
  path: "", // x,y,x,y,...
};
export let state = { ...DEFAULTS };
const listeners = [];

/** Call back after every change, with the set of names that changed. */
export const onChange = (listener) => listeners.push(listener);

/** Change some of the state. What is not there (a layer of another run) is put right before anyone sees it. */
export const set = (changes) => {
  const before = state;
  const after = mended({ ...before, ...changes });
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

/** What tells the map of a layer and view from any other; "": there is none of that name. */
function mapOf({ layer, view }) {
  const named = layer ? run.layers.find(({ name }) => name === layer) : run.layers[0];
  return named?.views.find(({ name }) => name === view)?.map ?? "";
}

/** The state as the part of an address after its #, defaults left out. */
export const addressOf = (shown) => {
  const parts = new URLSearchParams({ map: mapOf(shown) });
  for (const [name, value] of Object.entries(shown)) {
    if (value !== DEFAULTS[name]) parts.set(name, rounded(value));
  }
  return parts.toString();
};

/** An address -> {state, map}; unknown names are ignored, what is missing is the default. */
export const stateOf = (address) => {
  const parts = new URLSearchParams(address.replace(/^#/, ""));
  const named = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS)) {
    if (parts.has(name)) named[name] = readValue(name, parts.get(name));
  }
  return { state: named, map: parts.get("map") };
};

/** Bring the state within what there is: known layer and view, a grid of it, numbers within bounds. */
export const mended = (asked) => {
  const layers = run.layers;
  const layer = layers.find((one) => one.name === asked.layer) ?? layers[0];
  const view = layer.views.find((one) => one.name === asked.view) ?? layer.views[0];
  const within = (value, low, high) => Math.min(high, Math.max(low, value));
  return {
    ...asked,
    layer: layer.name,
    view: view.name,
    grid: view.grids.some((one) => one.size === asked.grid) ? asked.grid : 0,
    x: within(asked.x, -0.2, 1.2),
    y: within(asked.y, -0.2, 1.2),
    z: within(asked.z, 0.5, 400),
    strength: within(asked.strength, 0.25, 8),
    sign: asked.sign === "against" ? "against" : "for",
    colour: Object.hasOwn(MEASURES, asked.colour) ? asked.colour : "",
    lit: /^\d+$/.test(asked.lit) ? asked.lit : "",
    cell: /^\d+\.\d+\.\d+$/.test(asked.cell) ? asked.cell : "",
    path: /^-?[\d.]+(,-?[\d.]+)*$/.test(asked.path) ? asked.path : "",
  };
};

/** The description of the layer and view that are shown. */
export const layerShown = () => run.layers.find((one) => one.name === state.layer);
export const viewShown = () => layerShown().views.find((one) => one.name === state.view);

let timer = 0;
let writtenHash = null; // not yet: an empty address is one too

function write() {
  timer = 0;
  writtenHash = "#" + addressOf(state);
  try {
    history.replaceState(null, "", writtenHash);
  } catch {
    // Not every browser lets a file's page rewrite its address; all let it go to a part of itself.
    location.replace(writtenHash);
  }
}

/** Take over the address, and keep it up to date. Browsers refuse more than a few writes a second. */
export const followAddress = (onForeign) => {
  const take = () => {
    if (location.hash === writtenHash) return;
    const { state: named, map } = stateOf(location.hash);
    onForeign(Boolean(map) && map !== mapOf(named));
    set(named);
  };
  take();
  addEventListener("hashchange", take);
  onChange(() => (timer ||= setTimeout(write, 300)));
};

/** The address of what is seen now, at once. */
export const currentLink = () => {
  clearTimeout(timer);
  write();
  return location.href;
};
