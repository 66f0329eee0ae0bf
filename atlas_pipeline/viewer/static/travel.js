"use strict";
// From layer to layer: what was chosen lights up, and what was in sight stays in sight.
{
  const median = (values) => Float64Array.from(values).sort()[Math.floor(values.length / 2)];

  /** The chosen cell's box, as a link names it; "" without one. */
  function chosenBox() {
    const chosen = atlas.chosen();
    if (!chosen) return "";
    const { grid, cell } = chosen,
      at = (n) => n / grid.size;
    const box = [at(grid.col[cell]), at(grid.row[cell]), at(grid.col[cell] + 1), at(grid.row[cell] + 1)];
    return atlas.boxName(atlas.state.layer, atlas.state.view, box);
  }

  let carried = ""; // what goTo found: nobody asked for it, and the next chosen cell takes its place

  /** Light up the chosen cell's activations in every layer. */
  atlas.lightUp = () => {
    const found = chosenBox();
    if (!found) return void atlas.notice("Choose an icon first: its activations light up in every layer.");
    carried = "";
    atlas.set({ found });
  };

  /** Show another layer or view, and keep the place: where lie the activations that were seen or chosen? */
  async function goTo(layer, view) {
    atlas.land();
    const before = atlas.state,
      box = chosenBox();
    if (box && (!before.found || before.found === carried)) atlas.set({ found: (carried = box) });
    const camera = atlas.camera();
    const seen = [atlas.toMap(0, 0), atlas.toMap(camera.width, camera.height)].flat();
    atlas.set({ layer, view, cell: "" });
    atlas.glide(before, atlas.state);
    if (before.z < 1.4 || (before.layer === atlas.state.layer && before.view === atlas.state.view)) return;
    const target = atlas.state;
    const mask = atlas.state.found
      ? (await atlas.resolved(atlas.state.found))?.mask
      : await atlas.maskWithin({ layer: before.layer, view: before.view, box: seen });
    const { number, x, y } = await atlas.places(target.layer, target.view),
      there = [];
    for (let n = 0; n < number.length; n++) if (mask?.[number[n]]) there.push(n);
    // Meanwhile the view may have been changed again, or the map moved by hand.
    const isStill = ["layer", "view", "x", "y", "z"].every((name) => atlas.state[name] === target[name]);
    if (there.length && isStill && !atlas.isFlying()) {
      atlas.flyTo({ x: median(there.map((n) => x[n])), y: median(there.map((n) => y[n])) });
    }
  }
  atlas.goTo = (layer, view) => goTo(layer, view).catch((error) => atlas.warn(error.message));
}
