// Stand-ins for what only a browser provides: a run, as viewer/run.js passes it, and a grid.

import { receive } from "../../../atlas_pipeline/viewer/static/data.js";
import { startMeasures } from "../../../atlas_pipeline/viewer/static/measures.js";

const measure = (name, kind, more = {}) => ({
  name,
  column: name,
  kind,
  step: { rank: 1, distance: null, cosine: 1e-4, share: 1e-4 }[kind],
  colour: "",
  panel: "",
  note: "",
  beside: [],
  help: "",
  ...more,
});

export const MISSING = -32768;

export const RUN = {
  run: "made",
  digest: "d1",
  images: 400,
  known: 6,
  positions: 2,
  keys: true,
  layers: [
    {
      name: "early",
      views: [
        { name: "all", map: "early-all", grids: [{ size: 2 }, { size: 8 }] },
        { name: "class-a:b", map: "early-class", grids: [{ size: 2 }] },
      ],
    },
    { name: "late/2", views: [{ name: "all", map: "late-all", grids: [] }] },
  ],
  shares: [
    { column: "label", value: "cat" },
    { column: "age", value: null },
  ],
  scale: ["#000000", "#808080", "#ffffff"],
  palette: ["#ff0000", "#00ff00"],
  measures: [
    measure("fidelity", "cosine", {
      colour: "Fidelity",
      panel: "Fidelity",
      help: "how near.",
      beside: [
        { name: "noise", words: "noise" },
        { name: "nearest", words: "nearest real" },
      ],
    }),
    measure("noise", "cosine"),
    measure("nearest", "cosine"),
    measure("round_trip", "rank", { column: "roundTrip", panel: "Round trip" }),
    measure("consistency", "share", { colour: "Agreement", panel: "Agreement", note: "share one top class" }),
    measure("far", "distance", { colour: "Far", panel: "Far" }),
  ],
};

/** Pass a run to the modules as the data script of the page does, for all tests of a file. */
export function giveRun(changes = {}) {
  globalThis.document = { currentScript: { dataset: { path: "viewer/run.js" } } };
  receive({ ...RUN, ...changes });
  startMeasures();
}

/** A grid without empty cells, in reading order, with the given columns. */
export function gridOfSize(size, columns = {}) {
  const cells = size * size,
    each = Array.from({ length: cells }, (_, cell) => cell);
  return {
    size,
    cells,
    folder: `early/all/tiles-${size}`,
    row: each.map((cell) => Math.floor(cell / size)),
    col: each.map((cell) => cell % size),
    at: Int32Array.from(each),
    count: each.map((cell) => 10 * (cell + 1)),
    classes: [],
    classIndices: [],
    ...columns,
  };
}
