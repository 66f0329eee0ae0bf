// The carriers of the attribution: cells and regions of the atlas, channels, groups of neurons; and the sums.

import { atlasOf, cellOf } from "./address.js";
import { strongest, sumsBy } from "./evidence.js";
import { drawGround, drawHeat, mapCanvas } from "./maps.js";
import { element } from "./page.js";
import { unitChip } from "./place_view.js";
import { openedSheet, short, square } from "./sheets_of_units.js";

const NUM_CELLS = 12;
const NUM_REGIONS = 8;
const NUM_CHANNELS = 8;

const signed = (value) => (value > 0 ? `+${short(value)}` : short(value));
const positionsWords = (count) => `${count} ${count === 1 ? "position" : "positions"}`;
const note = (words) => element("p", { className: "note", textContent: words });
const amount = (value) => element("b", { className: value > 0 ? "for" : "against", textContent: signed(value) });

/** The cells of the atlas that carry the attribution. attribution: by position. */
export const cellSection = (values, attribution, sheet) => {
  const sums = sumsBy(attribution, values.cell).slice(0, NUM_CELLS);
  const all = values.cells.map(({ row, col }) => [row, col]);
  return [
    element("h2", { textContent: "Cells of the atlas that carry it" }),
    note("The attributions of the picture's positions, summed by the cell that each lies on, in logits."),
    element(
      "p",
      { className: "steps" },
      element("a", { id: "to-atlas", href: atlasOf(values.layer, all), textContent: "All its cells on the atlas" }),
    ),
    element(
      "div",
      { className: "carriers" },
      ...sums.map(({ key, sum, count }) =>
        element(
          "a",
          { className: "carrier", href: cellOf(values.layer, values.cells[key]) },
          square(sheet, key),
          element(
            "span",
            {},
            amount(sum),
            element("bdi", { textContent: values.cells[key].name || "no name" }),
            element("small", { textContent: positionsWords(count) }),
          ),
        ),
      ),
    ),
  ];
};

/** The named regions of the atlas that carry the attribution. */
export const regionSection = (values, attribution) => {
  const regions = values.cell.map((slot) => (slot < 0 ? -1 : values.cells[slot].region));
  const sums = sumsBy(attribution, regions).slice(0, NUM_REGIONS);
  if (!sums.length) return [];
  const cellsOf = (region) => values.cells.filter((one) => one.region === region);
  const rest = attribution.reduce((sum, value, n) => sum + (regions[n] < 0 ? value : 0), 0);
  return [
    element("h3", { textContent: "By region" }),
    note(
      "A region is a connected part of the map whose activations agree on a class. " +
        `Cells without a region carry ${signed(rest)}.`,
    ),
    element(
      "div",
      { className: "chips" },
      ...sums.map(({ key, sum, count }) =>
        element("a", {
          href: atlasOf(
            values.layer,
            cellsOf(key).map(({ row, col }) => [row, col]),
          ),
          textContent: `${cellsOf(key)[0].name}: ${signed(sum)}, ${positionsWords(count)}`,
        }),
      ),
    ),
  ];
};

/** The channels that carry the attribution: for and against. */
export const channelSection = (values, channels) => {
  const most = Math.max(...channels.map(Math.abs));
  const list = (sign) =>
    element(
      "ul",
      { className: "classes" },
      ...strongest(channels, NUM_CHANNELS, sign).map(([channel, value]) => {
        const bar = element("span", { className: value > 0 ? "bar" : "bar against" });
        bar.style.width = `${(100 * Math.abs(value)) / most}%`;
        return element(
          "li",
          {},
          element("span", { className: "chips" }, unitChip(values, channel, `channel ${channel}`)),
          element("span", { className: "value", textContent: signed(value) }),
          element("span", { className: "track" }, bar),
        );
      }),
    );
  return [
    element("h2", { textContent: "Channels that carry it" }),
    note("Activation times gradient, summed over all positions, in logits."),
    element("div", { className: "columns" }, list(1), list(-1)),
  ];
};

/** The groups of neurons: icon, heat map, attribution. bitmap: the picture. columns: of the chosen classes. */
export const groupSection = async (values, place, columns, bitmap) => {
  const title = element("h2", { textContent: "Groups of neurons" });
  const { groups } = values;
  if (!groups) return [title, note("The layer has a single position, so nothing in it can be grouped by place.")];
  const sheet = await openedSheet(groups.icons);
  const shown = groups.weights.map((weights, group) => {
    const heat = mapCanvas(`Where group ${group + 1} is`, 224);
    drawGround(heat, bitmap);
    drawHeat(heat, values, weights);
    const of = groups[place.by][group],
      value = of[columns.at] - (columns.minus === null ? 0 : of[columns.minus]);
    return element(
      "div",
      { className: "group" },
      element("div", { className: "pair" }, square(sheet, group, `Icon of group ${group + 1}`), heat),
      element("p", {}, amount(value), ` logits; fidelity of its icon ${short(groups.fidelity[group])}`),
      element(
        "div",
        { className: "chips" },
        ...groups.units[group].map((unit) => unitChip(values, unit, String(unit))),
      ),
    );
  });
  return [
    title,
    note(
      `${groups.weights.length} groups of channels that fire together here, found by non-negative matrix ` +
        `factorisation. They reproduce ${(100 * groups.explained).toFixed(0)} % of the squares of the activations` +
        `${groups.hasNegative ? ", whose negative values count as 0" : ""}. Each with its icon, where it is, what ` +
        "it carries, and its strongest channels.",
    ),
    element("div", { className: "groups" }, ...shown),
  ];
};

/** The table that compares the sums of attributions with what they must add up to. */
export const sumSection = (values) => {
  const cell = (value) => element("td", { textContent: value === null ? "–" : value.toFixed(3) });
  const head = ["class", "logit", "gradient: sum", "its linearisation", "path: sum", "change of the logit"];
  const hasOutside = values.classes.some((one) => Math.abs(one.gradientOutside) > 1e-4);
  const table = element(
    "table",
    { className: "sums" },
    element("thead", {}, element("tr", {}, ...head.map((words) => element("th", { scope: "col", textContent: words })))),
    element(
      "tbody",
      {},
      ...values.classes.map((one) =>
        element(
          "tr",
          {},
          element("th", { scope: "row" }, element("bdi", { textContent: one.label })),
          cell(one.logit),
          cell(one.gradientSum + one.gradientOutside),
          cell(one.gradientExpected),
          cell(one.pathSum + one.pathOutside),
          cell(one.pathExpected),
        ),
      ),
    ),
  );
  return [
    element("h2", { textContent: "What the attributions add up to" }),
    note(
      "By the gradient they add up to the derivative of the logit along the activations, computed in another way. " +
        "By the path from zero they approach the change of the logit when all activations are taken away; the " +
        `difference is the error of its steps.${hasOutside ? " Tokens without a place in the picture are included." : ""}`,
    ),
    element("div", { className: "scroll", role: "region", tabIndex: 0, "aria-label": "Sums of attributions" }, table),
  ];
};

