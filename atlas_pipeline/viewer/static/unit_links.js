// The units that are strongest in a cell, as links to their pages; the run may have none.

import { cachedFile } from "./data.js";
import { element } from "./page.js";
import { state, viewShown } from "./state.js";

/** The address of a unit's page. */
export const unitAddress = (layer, unit) => `./units/index.html#${new URLSearchParams({ layer, unit: String(unit) })}`;

/** Fill a place of the panel with links to the strongest units of a cell, if the grid has such a list. */
export const fillUnits = async (place, grid, cell) => {
  if (viewShown().units !== grid.size) return;
  const { layer, view } = state,
    { cells } = await cachedFile(`${layer}/${view}/unit-cells.js`),
    units = cells[`${grid.row[cell]}.${grid.col[cell]}`] ?? [];
  if (!units.length || !place.isConnected) return;
  place.replaceChildren(
    element(
      "h3",
      { textContent: "Units that are strongest here" },
      element("small", { textContent: "each has a page of its own" }),
    ),
    element(
      "div",
      { className: "actions" },
      ...units.map((unit) => element("a", { href: unitAddress(layer, unit), textContent: String(unit) })),
    ),
  );
};
