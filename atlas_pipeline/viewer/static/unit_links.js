// The units and the atoms that are strongest in a cell, as links to their pages; the run may have none.

import { cachedFile, run, unpackAll } from "./data.js";
import { element } from "./page.js";
import { state, viewShown } from "./state.js";

// Atoms that a cell names; the least level, of the 255 of an atom's largest strength, at which it names one.
const NUM_ATOMS = 6;
const LEAST_LEVEL = 64;

/** The address of a unit's page. */
export const unitAddress = (layer, unit) => `./units/index.html#${new URLSearchParams({ layer, unit: String(unit) })}`;

/** Fill a place of the panel with links to the strongest units of a cell, if the grid has such a list. */
export const fillUnits = async (place, grid, cell) => {
  if (viewShown().units !== grid.size) return;
  const { layer, view } = state,
    { cells } = await cachedFile(`${layer}/${view}/unit-cells.js`),
    units = cells[`${grid.row[cell]}.${grid.col[cell]}`] ?? [];
  fillLinks(place, "Units that are strongest here", "each has a page of its own", units, (unit) =>
    unitAddress(layer, unit),
  );
};

/** Fill a place of the panel with links to the atoms that a cell lights, if the grid is that of the atoms. */
export const fillAtoms = async (place, grid, cell) => {
  const { layer, view } = state;
  if (view !== "all" || !run.atomPages?.includes(layer)) return;
  const [cells, { units }] = await Promise.all([
    cachedFile(`${layer}/directions/cells.js`, unpackAll),
    cachedFile(`${layer}/directions/list.js`),
  ]);
  if (cells.grid !== grid.size) return;
  const num = cells.row.length,
    here = cells.row.findIndex((row, at) => row === grid.row[cell] && cells.col[at] === grid.col[cell]),
    level = (at) => (here < 0 ? 0 : cells.levels[at * num + here]),
    strongest = [...units.keys()]
      .filter((at) => level(at) >= LEAST_LEVEL)
      .sort((one, other) => level(other) - level(one))
      .slice(0, NUM_ATOMS);
  fillLinks(
    place,
    "Atoms that are strong here",
    "each beside its own largest strength on this grid",
    strongest.map((at) => units[at].unit),
    (atom) => `./directions/index.html#${new URLSearchParams({ layer, atom: String(atom) })}`,
  );
};

const fillLinks = (place, heading, small, numbers, hrefOf) => {
  if (!numbers.length || !place.isConnected) return;
  place.replaceChildren(
    element("h3", { textContent: heading }, element("small", { textContent: small })),
    element(
      "div",
      { className: "actions" },
      ...numbers.map((number) => element("a", { href: hrefOf(number), textContent: String(number) })),
    ),
  );
};
