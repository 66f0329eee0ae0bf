"use strict";
// The lists of layers and of views, with their densities.
{
  const { byId, element } = atlas;
  const FILTER_FROM = 9; // views, from which on the list has a filter

  /** A layer's or view's density, with room for the activations that are lit up. */
  function thumbnail(layer, view) {
    const image = element("img", {
      src: atlas.address(`${layer}/${view}/thumbnail.webp`),
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
    const { layers } = atlas.run;
    byId("layers").replaceChildren(
      ...layers.map(({ name, views }) => {
        const words = element(
          "span",
          {},
          element("bdi", { textContent: name }),
          element("small", { textContent: `${atlas.number(views[0].activations)} activations` }),
        );
        const made = element(
          "button",
          { className: "entry", onclick: () => atlas.goTo(name, atlas.state.view) },
          thumbnail(name, views[0].name),
          words,
        );
        made.dataset.layer = name;
        return made;
      }),
    );
  }

  function showViews() {
    const { views } = atlas.layer(),
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
            { className: "entry", onclick: () => atlas.goTo(atlas.state.layer, name) },
            thumbnail(atlas.state.layer, name),
            words,
          );
          made.dataset.view = name;
          return made;
        }),
    );
  }

  function markShown() {
    const { layer, view } = atlas.state;
    for (const button of byId("layers").children)
      button.setAttribute("aria-pressed", String(button.dataset.layer === layer));
    for (const button of byId("views").children)
      button.setAttribute("aria-pressed", String(button.dataset.view === view));
    byId("open-side-words").textContent = view === "all" ? layer : `${layer} · ${atlas.view().title}`;
  }

  atlas.startLists = () => {
    showLayers();
    byId("views-filter").oninput = () => {
      showViews();
      markShown();
      atlas.showThumbnails();
    };
    atlas.onChange((names, before) => {
      if (names.has("layer") || !before.layer) showViews();
      if (!names.has("layer") && !names.has("view")) return;
      markShown();
      const { layer } = atlas.state;
      atlas.say(`${layer}, ${atlas.view().title}, ${atlas.number(atlas.view().activations)} activations`);
    });
  };
}
