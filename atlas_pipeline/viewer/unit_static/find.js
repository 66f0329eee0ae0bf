// Search for units by number or by class, over all layers of the run.

import { addressOf, fileOf, titleOf } from "./address.js";
import { cachedFile, run } from "./data.js";
import { byId, element, say } from "./page.js";
import { WORDS } from "./words.js";

const MOST_FOUND = 40;

/** The units of a list that fit words: a number fits the units whose number begins with it. */
export const fitting = (list, words) => {
  const wanted = words.trim().toLowerCase();
  if (!wanted) return [];
  const [layer, number] = wanted.includes(":") ? wanted.split(":") : ["", wanted];
  if (layer && !list.layer.toLowerCase().includes(layer)) return [];
  if (/^\d*$/.test(number)) return list.units.filter((one) => String(one.unit).startsWith(number));
  return list.units.filter((one) =>
    (one.classes ?? []).some((index) => list.labels[index].toLowerCase().includes(number)),
  );
};

const foundNote = (list, one) =>
  one.dead ? "dead" : (one.classes ?? []).map((index) => list.labels[index]).join(", ");

let asked = 0;
let chosen = -1;

const options = () => [...byId("found").children].filter((one) => one.dataset.address);

function showFound(found) {
  chosen = -1;
  byId("found").replaceChildren(
    ...found.map(({ list, one }, number) =>
      element(
        "li",
        {
          id: `found-${number}`,
          role: "option",
          "aria-selected": "false",
          "data-address": addressOf(list.layer, one.unit),
          onclick: (event) => open(event.currentTarget),
        },
        element("bdi", { textContent: titleOf(list.layer, one.unit) }),
        foundNote(list, one) ? element("small", { textContent: foundNote(list, one) }) : null,
      ),
    ),
  );
  byId("found").hidden = !found.length;
  byId("find").setAttribute("aria-expanded", String(found.length > 0));
}

function open(option) {
  location.hash = option.dataset.address;
  byId("find").value = "";
  showFound([]);
}

function choose(step) {
  const all = options();
  if (!all.length) return;
  chosen = (chosen + step + all.length) % all.length;
  all.forEach((one, number) => one.setAttribute("aria-selected", String(number === chosen)));
  byId("find").setAttribute("aria-activedescendant", all[chosen].id);
  all[chosen].scrollIntoView({ block: "nearest" });
}

async function search() {
  const mine = ++asked,
    words = byId("find").value;
  if (!words.trim()) return showFound([]);
  const lists = await Promise.all(run.layers.map((layer) => cachedFile(fileOf(layer.name, "list.js"))));
  if (mine !== asked) return;
  const found = lists.flatMap((list) => fitting(list, words).map((one) => ({ list, one })));
  showFound(found.slice(0, MOST_FOUND));
  say(found.length === 1 ? `1 ${WORDS.file} found` : `${found.length} ${WORDS.file}s found`);
}

/** Make the search field work. */
export const startSearch = () => {
  const field = byId("find");
  field.addEventListener("input", search);
  field.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      choose(event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === "Enter" && options().length) open(options()[Math.max(0, chosen)]);
    else if (event.key === "Escape") showFound([]);
  });
  document.addEventListener("click", (event) => event.target.closest(".combo") || showFound([]));
};
