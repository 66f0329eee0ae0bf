// The start of the page: shows what the address names, and follows it.

import { addressOf, layerNamed, placeOf, titleOf } from "./address.js";
import { run } from "./data.js";
import { startSearch } from "./find.js";
import { layerPage, modelPage } from "./layer_view.js";
import { byId, element, say, warn } from "./page.js";
import { hasUnit, unitPage } from "./unit_view.js";
import { WORDS } from "./words.js";

let shown = 0;
let drawn = null; // the address of the page that is drawn

/** Whether the page that the address names is drawn. */
export const isDrawn = () => drawn === location.hash;

function trail(layer, unit) {
  const steps = [
    [run.run, run.atlas ? "../index.html" : null],
    [WORDS.many, addressOf(null)],
    ...(layer ? [[layer.name, addressOf(layer.name)]] : []),
    ...(unit === null ? [] : [[String(unit), null]]),
  ];
  const items = steps.map(([words, href], number) => {
    const isHere = number === steps.length - 1,
      inside = element("bdi", { textContent: words });
    const item = href && !isHere ? element("a", { href }, inside) : element("span", {}, inside);
    if (isHere) item.setAttribute("aria-current", "page");
    return element("li", {}, item);
  });
  byId("trail").replaceChildren(element("ol", {}, ...items));
}

async function contentOf(layer, unit) {
  if (!layer) return modelPage();
  return unit === null ? layerPage(layer) : unitPage(layer, unit);
}

async function showPage() {
  const mine = ++shown;
  const address = location.hash,
    place = placeOf(address);
  drawn = null;
  const layer = place.layer === null ? null : layerNamed(place.layer);
  let { unit } = place;
  if (layer === undefined) warn(`There is no layer '${place.layer}' here.`);
  try {
    if (layer && unit !== null && !(await hasUnit(layer, unit))) {
      warn(`${titleOf(layer.name, unit)} has no page here.`);
      unit = null;
    }
    const content = await contentOf(layer ?? null, layer ? unit : null);
    if (mine !== shown) return;
    trail(layer ?? null, layer ? unit : null);
    byId("page").replaceChildren(...content);
    const title = byId("page").querySelector("h1").textContent;
    document.title = `${title} · ${run.run}`;
    say(title);
    scrollTo(0, 0);
    drawn = address;
  } catch (error) {
    warn(error.message);
  }
}

function follow(event) {
  if (event.target.matches("input") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") {
    event.preventDefault();
    return void byId("find").focus();
  }
  const rel = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
  if (rel) document.querySelector(`a[rel="${rel}"]`)?.click();
}

addEventListener("DOMContentLoaded", () => {
  if (run.random) {
    byId("alarm").textContent = `Random weights: ${run.weights}. The network was never trained.`;
    byId("alarm").hidden = false;
  }
  startSearch();
  addEventListener("hashchange", showPage);
  addEventListener("keydown", follow);
  showPage();
});
