"use strict";
// What the colours mean, and what is shown in a line.
{
  const { byId, element } = atlas;

  function showLegend() {
    const { colour } = atlas.state,
      grid = atlas.shown(),
      legend = byId("legend");
    legend.hidden = !(colour && grid && atlas.MEASURES[colour]);
    if (legend.hidden) return;
    const name = `${grid.folder}#${colour}`;
    if (legend.dataset.name === name) return;
    legend.dataset.name = name;
    if (colour === "classes" && grid.numTop) {
      const rows = atlas.commonest(grid).map(({ label, count, colour: fill }) => {
        const swatch = element("span", { className: "swatch" });
        swatch.style.background = fill;
        return element(
          "li",
          {},
          swatch,
          element("bdi", { textContent: label }),
          element("small", { textContent: atlas.number(count) }),
        );
      });
      const others = new Set(grid.top.filter((_, at) => at % grid.numTop === 0)).size - rows.length;
      legend.replaceChildren(
        element("ul", {}, ...rows),
        others > 0
          ? element("p", { className: "note", textContent: `grey: ${atlas.number(others)} other classes` })
          : "",
      );
      return;
    }
    if (atlas.MEASURES[colour].ready?.(grid) === false) {
      // What stood there was of another measure.
      legend.replaceChildren();
      return void (legend.dataset.name = "");
    }
    const range = colour === "classes" ? null : atlas.rangeOf(grid, colour);
    if (!range)
      return void legend.replaceChildren(
        element("p", { className: "note", textContent: "Not known in this atlas" }),
      );
    const ramp = element("canvas", { width: 128, height: 1, className: "ramp" }),
      context = ramp.getContext("2d"),
      [from, to] = range.map(atlas.sharesOf(colour, range));
    for (let x = 0; x < 128; x++) {
      context.fillStyle = `rgb(${atlas.scaleColour(from + ((to - from) * x) / 127).map(Math.round)})`;
      context.fillRect(x, 0, 1, 1);
    }
    // Of cells that are all alike there is one number to say.
    const words = [...new Set(range)].map((value) =>
      element("span", { textContent: atlas.measured(colour, value) }),
    );
    legend.replaceChildren(ramp, element("p", { className: "ends" }, ...words));
  }

  function showStatus() {
    const grid = atlas.shown(),
      view = atlas.view();
    byId("status").textContent = grid
      ? `${grid.size} × ${grid.size} · ${atlas.number(grid.cells)} icons · ${atlas.number(grid.activations)} activations`
      : view.missing
        ? `No icons: ${view.missing}. ${ofDots(view)}`
        : "…";
  }

  /** How many of a view's activations are drawn where it has no icons: places are known of some images only. */
  function ofDots({ activations }) {
    const drawn = atlas.iconlessPlaces()?.slot.length ?? null,
      all = atlas.number(activations);
    if (drawn === null) return "";
    return `The dots are ${drawn < activations ? `${atlas.number(drawn)} of ${all}` : all} activations.`;
  }

  const refresh = () => {
    atlas.redraw();
    atlas.showDetail();
    showLegend();
    showStatus();
  };

  /** A grid has come, or something of it. */
  atlas.arrived = () => {
    refresh();
    atlas.showClass();
    atlas.showStrip();
  };

  atlas.startLegend = () => atlas.onChange(refresh);
}
