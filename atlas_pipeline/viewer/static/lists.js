// The lists of layers and views, with density thumbnails.

import { numberWords } from "./cells.js";
import { addressOfFile, run } from "./data.js";
import { showThumbnails } from "./found.js";
import { byId, element, say } from "./page.js";
import { layerShown, onChange, state, viewShown } from "./state.js";
import { goTo } from "./travel.js";

const FILTER_FROM = 9; // number of views from which the list has a filter

/** The density thumbnail of a layer or view, with a canvas over it for selected activations. */
function thumbnail(layer, view) {
  const image = element("img", {
    src: addressOfFile(`${layer}/${view}/thumbnail.webp`),
    alt: "",
    loading: "lazy",
    width: 44,
    height: 44,
  });
  const lit = element("canvas", { width: 88, height: 88 });
  Object.assign(lit.dataset, { layer, view });
  return element("span", { className: "thumbnail" }, image, lit);
}

function showLayers() {
  const { layers } = run;
  byId("layers").replaceChildren(
    ...layers.map(({ name, views }) => {
      const words = element(
        "span",
        {},
        element("bdi", { textContent: name }),
        element("small", { textContent: `${numberWords(views[0].activations)} activations` }),
      );
      const made = element(
        "button",
        { className: "entry", onclick: () => goTo(name, state.view) },
        thumbnail(name, views[0].name),
        words,
      );
      made.dataset.layer = name;
      return made;
    }),
  );
}

function showViews() {
  const { views } = layerShown(),
    filter = byId("views-filter");
  byId("views-section").hidden = views.length < 2;
  filter.hidden = views.length < FILTER_FROM;
  const wanted = filter.hidden ? "" : filter.value.toLowerCase();
  const kinds = { class: "class atlas", comparison: "comparison" };
  byId("views").replaceChildren(
    ...views
      .filter(({ title }) => title.toLowerCase().includes(wanted))
      .map(({ name, title, kind, missing }) => {
        const beside = missing ? "without icons" : (kinds[kind] ?? "");
        const words = element(
          "span",
          {},
          element("bdi", { textContent: title }),
          beside ? element("small", { textContent: beside }) : null,
        );
        const made = element(
          "button",
          { className: "entry", onclick: () => goTo(state.layer, name) },
          thumbnail(state.layer, name),
          words,
        );
        made.dataset.view = name;
        return made;
      }),
  );
}

function markShown() {
  const { layer, view } = state;
  for (const button of byId("layers").children)
    button.setAttribute("aria-pressed", String(button.dataset.layer === layer));
  for (const button of byId("views").children)
    button.setAttribute("aria-pressed", String(button.dataset.view === view));
  byId("open-side-words").textContent = view === "all" ? layer : `${layer} · ${viewShown().title}`;
}

export const startLists = () => {
  showLayers();
  byId("views-filter").oninput = () => {
    showViews();
    markShown();
    showThumbnails();
  };
  onChange((names, before) => {
    if (names.has("layer") || !before.layer) showViews();
    if (!names.has("layer") && !names.has("view")) return;
    markShown();
    const { layer } = state;
    say(`${layer}, ${viewShown().title}, ${numberWords(viewShown().activations)} activations`);
  });
};
