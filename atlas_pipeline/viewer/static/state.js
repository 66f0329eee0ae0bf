"use strict";
// All that a link holds. Everything on the screen follows from the state; every control changes it by atlas.set.
{
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
  atlas.state = { ...DEFAULTS };
  const listeners = [];

  /** Call back after every change, with the set of names that changed. */
  atlas.onChange = (listener) => listeners.push(listener);

  /** Change some of the state. What is not there (a layer of another run) is put right before anyone sees it. */
  atlas.set = (changes) => {
    const before = atlas.state;
    const after = atlas.mended({ ...before, ...changes });
    const names = new Set(Object.keys(after).filter((name) => after[name] !== before[name]));
    if (!names.size) return;
    atlas.state = after;
    for (const listener of listeners) listener(names, before);
  };

  const finite = (text, fallback) => (Number.isFinite(Number(text)) && text !== "" ? Number(text) : fallback);
  const rounded = (value) => (typeof value === "number" ? String(Number(value.toFixed(5))) : String(value));

  function read(name, text) {
    const fallback = DEFAULTS[name];
    if (typeof fallback === "number") return finite(text, fallback);
    return typeof fallback === "boolean" ? text === "true" : text;
  }

  /** What tells the map of a layer and view from any other; "": there is none of that name. */
  function mapOf({ layer, view }) {
    const named = layer ? atlas.run.layers.find(({ name }) => name === layer) : atlas.run.layers[0];
    return named?.views.find(({ name }) => name === view)?.map ?? "";
  }

  /** The state as the part of an address after its #, defaults left out. */
  atlas.addressOf = (state) => {
    const parts = new URLSearchParams({ map: mapOf(state) });
    for (const [name, value] of Object.entries(state)) {
      if (value !== DEFAULTS[name]) parts.set(name, rounded(value));
    }
    return parts.toString();
  };

  /** An address -> {state, map}; unknown names are ignored, what is missing is the default. */
  atlas.stateOf = (address) => {
    const parts = new URLSearchParams(address.replace(/^#/, ""));
    const state = { ...DEFAULTS };
    for (const name of Object.keys(DEFAULTS)) {
      if (parts.has(name)) state[name] = read(name, parts.get(name));
    }
    return { state, map: parts.get("map") };
  };

  /** Bring the state within what there is: known layer and view, a grid of it, numbers within bounds. */
  atlas.mended = (state) => {
    const layers = atlas.run.layers;
    const layer = layers.find((one) => one.name === state.layer) ?? layers[0];
    const view = layer.views.find((one) => one.name === state.view) ?? layer.views[0];
    const within = (value, low, high) => Math.min(high, Math.max(low, value));
    return {
      ...state,
      layer: layer.name,
      view: view.name,
      grid: view.grids.some((one) => one.size === state.grid) ? state.grid : 0,
      x: within(state.x, -0.2, 1.2),
      y: within(state.y, -0.2, 1.2),
      z: within(state.z, 0.5, 400),
      strength: within(state.strength, 0.25, 8),
      sign: state.sign === "against" ? "against" : "for",
      colour: Object.hasOwn(atlas.MEASURES, state.colour) ? state.colour : "",
      lit: /^\d+$/.test(state.lit) ? state.lit : "",
      cell: /^\d+\.\d+\.\d+$/.test(state.cell) ? state.cell : "",
      path: /^-?[\d.]+(,-?[\d.]+)*$/.test(state.path) ? state.path : "",
    };
  };

  /** The description of the layer and view that are shown. */
  atlas.layer = () => atlas.run.layers.find((one) => one.name === atlas.state.layer);
  atlas.view = () => atlas.layer().views.find((one) => one.name === atlas.state.view);

  let timer = 0;
  let written = null; // not yet: an empty address is one too

  function write() {
    timer = 0;
    written = "#" + atlas.addressOf(atlas.state);
    try {
      history.replaceState(null, "", written);
    } catch {
      // Not every browser lets a file's page rewrite its address; all let it go to a part of itself.
      location.replace(written);
    }
  }

  /** Take over the address, and keep it up to date. Browsers refuse more than a few writes a second. */
  atlas.followAddress = (onForeign) => {
    const take = () => {
      if (location.hash === written) return;
      const { state, map } = atlas.stateOf(location.hash);
      onForeign(Boolean(map) && map !== mapOf(state));
      atlas.set(state);
    };
    take();
    addEventListener("hashchange", take);
    atlas.onChange(() => (timer ||= setTimeout(write, 300)));
  };

  /** The address of what is seen now, at once. */
  atlas.link = () => {
    clearTimeout(timer);
    write();
    return location.href;
  };
}
