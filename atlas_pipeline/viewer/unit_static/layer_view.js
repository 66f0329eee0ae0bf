// The pages above a unit's: all layers, and the units of a layer.

import { addressOf, fileOf, titleOf } from "./address.js";
import { cachedFile, run } from "./data.js";
import { element } from "./page.js";
import { layerNote, layerSections, layerWords } from "./layer_parts.js";
import { openedSheet, percent, square } from "./sheets_of_units.js";
import { WORDS } from "./words.js";

/** The first page: the layers of the run. */
export const modelPage = () => [
  element("p", { className: "kicker", textContent: WORDS.kicker }),
  element("h1", { textContent: run.model }),
  element("p", { className: "lede", textContent: WORDS.about }),
  element(
    "ul",
    { className: "layers" },
    ...run.layers.map((layer) =>
      element(
        "li",
        {},
        element(
          "a",
          { href: addressOf(layer.name) },
          element("b", { textContent: layer.name }),
          element("small", { textContent: layerNote(layer) }),
        ),
      ),
    ),
  ),
  ...(run.atlas
    ? [element("p", { className: "steps" }, element("a", { href: "../index.html", textContent: "The atlas" }))]
    : []),
];

const noteOf = (list, one) => {
  if (one.dead) return "dead";
  return one.classes?.length ? list.labels[one.classes[0]] : `${WORDS.active} ${percent(one.firing).replace(" ", "\u00a0")}`;
};

/** The picture of each unit of a list, in order; null where the run makes no icons. */
async function iconsOf(layer, list) {
  if (!list.icons) return list.units.map(() => null);
  const numbers = list.units.map((_, at) => Math.floor(at / list.icons));
  const sheets = await Promise.all(
    [...new Set(numbers)].map(async (one) => openedSheet(await cachedFile(fileOf(layer.name, `icons-${one}.js`)))),
  );
  return numbers.map((one, at) => square(sheets[one], at % list.icons));
}

/** The page of a layer: its units. */
export const layerPage = async (layer) => {
  const list = await cachedFile(fileOf(layer.name, "list.js")),
    icons = await iconsOf(layer, list);
  return [
    element("p", { className: "kicker", textContent: run.model }),
    element("h1", { textContent: layer.name }),
    element("p", { className: "lede", textContent: layerWords(layer) }),
    element(
      "div",
      { className: "tiles" },
      ...list.units.map((one, at) =>
        element(
          "a",
          {
            className: "tile",
            href: addressOf(layer.name, one.unit),
            "aria-label": `${titleOf(layer.name, one.unit)}, ${noteOf(list, one)}`,
          },
          icons[at],
          element("b", { textContent: String(one.unit) }),
          element("small", { textContent: noteOf(list, one) }),
        ),
      ),
    ),
    ...(await layerSections(layer, list)),
  ];
};
