"use strict";
// Activations that are chosen in one layer light up in all: every layer saw the same images.
{
  const { byId } = atlas;
  const FINEST = 65536; // places are whole numbers of this grid
  const MOST_IMAGES = 20000;

  /** Where the known images' activations lie in a view: {slot, x, y}, y down; a slot is a known image's number. */
  atlas.places = (layer, view) =>
    atlas.keep(`${layer}/${view}/places.js`, async (value) => {
      const { slot, row, col } = await atlas.unpackAll(value);
      const unit = (places) => Float32Array.from(places, (place) => (place + 0.5) / FINEST);
      return { slot, x: unit(col), y: unit(row) };
    });

  /** The part of a link that names a box of a view. */
  atlas.boxName = (layer, view, box) =>
    ["box", encodeURIComponent(layer), encodeURIComponent(view), box.map((n) => n.toFixed(4)).join(",")].join(
      ":",
    );

  function boxOf(found) {
    const [kind, layer, view, corners] = found.split(":");
    const box = (corners ?? "").split(",").map(Number);
    if (kind !== "box" || box.length !== 4 || !box.every(Number.isFinite)) return null;
    try {
      return { layer: decodeURIComponent(layer), view: decodeURIComponent(view), box };
    } catch {
      return null; // a link cut short within a name
    }
  }

  const known = (layer, view) =>
    atlas.run.layers.some((l) => l.name === layer && l.views.some((v) => v.name === view));

  async function within({ layer, view, box: [x0, y0, x1, y1] }) {
    const { slot, x, y } = await atlas.places(layer, view),
      mask = new Uint8Array(MOST_IMAGES);
    for (let n = 0; n < slot.length; n++) {
      if (x[n] >= x0 && x[n] < x1 && y[n] >= y0 && y[n] < y1) mask[slot[n]] = 1;
    }
    return mask;
  }

  /** What a link calls found -> {mask over known images, words}; null: nothing, or of another run. */
  async function resolved(found) {
    const box = boxOf(found);
    if (box) {
      if (!known(box.layer, box.view)) return null;
      const mask = await within(box),
        count = mask.reduce((sum, one) => sum + one, 0);
      return {
        mask,
        words: `${atlas.number(count)} image${count === 1 ? "" : "s"} of a region of ${box.layer}`,
      };
    }
    return found ? atlas.searched(found) : null;
  }

  let current = { found: "", mask: null, words: "" };
  const points = new Map(); // layer/view -> {x, y} of what is found

  /** Whether a known image is among what is found. */
  atlas.isLit = (slot) => Boolean(current.mask?.[slot]);

  async function pointsIn(layer, view) {
    const { slot, x, y } = await atlas.places(layer, view),
      xs = [],
      ys = [];
    for (let n = 0; n < slot.length; n++) {
      if (current.mask?.[slot[n]]) {
        xs.push(x[n]);
        ys.push(y[n]);
      }
    }
    return { x: xs, y: ys };
  }

  async function loadPoints(layer, view) {
    const { found } = current,
      path = `${layer}/${view}`;
    if (points.has(path) || !current.mask) return;
    try {
      const loaded = await pointsIn(layer, view);
      if (current.found === found) points.set(path, loaded);
    } catch (error) {
      // The other layers have theirs.
      atlas.warn(error.message);
    }
    atlas.redraw();
  }

  /** The activations that are lit up, over the densities in the lists. */
  atlas.showThumbnails = () => {
    for (const canvas of document.querySelectorAll(".thumbnail canvas")) {
      const { layer, view } = canvas.dataset,
        context = canvas.getContext("2d");
      context.clearRect(0, 0, canvas.width, canvas.height);
      const lit = points.get(`${layer}/${view}`);
      if (!lit) continue;
      context.fillStyle = atlas.theme().accent;
      const size = lit.x.length > 300 ? 3 : 5;
      for (let n = 0; n < lit.x.length; n++) {
        context.fillRect(lit.x[n] * canvas.width - size / 2, lit.y[n] * canvas.height - size / 2, size, size);
      }
    }
  };

  let isLacking = false; // what is found could not be loaded

  async function follow(found) {
    points.clear();
    current = { found, mask: null, words: "" };
    isLacking = false;
    let what = null,
      fault = "The link's selection is not of this run.";
    try {
      what = await resolved(found);
    } catch (error) {
      fault = error.message;
      isLacking = true;
    }
    if (atlas.state.found !== found) return;
    current = { found, mask: what?.mask ?? null, words: what?.words ?? "" };
    byId("found").hidden = !what;
    byId("found-words").textContent = current.words;
    if (what) atlas.say(current.words);
    else if (found) atlas.warn(fault);
    const { layer, view } = atlas.state;
    await loadPoints(layer, view);
    for (const { name, views } of atlas.run.layers) await loadPoints(name, views[0].name);
    atlas.showThumbnails();
    atlas.redraw();
  }

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
      ? (await resolved(atlas.state.found))?.mask
      : await within({ layer: before.layer, view: before.view, box: seen });
    const { slot, x, y } = await atlas.places(target.layer, target.view),
      there = [];
    for (let n = 0; n < slot.length; n++) if (mask?.[slot[n]]) there.push(n);
    // Meanwhile the view may have been changed again, or the map moved by hand.
    const isStill = ["layer", "view", "x", "y", "z"].every((name) => atlas.state[name] === target[name]);
    if (there.length && isStill && !atlas.isFlying()) {
      atlas.flyTo({ x: median(there.map((n) => x[n])), y: median(there.map((n) => y[n])) });
    }
  }
  atlas.goTo = (layer, view) => goTo(layer, view).catch((error) => atlas.warn(error.message));

  /** Of what is found in the view that is shown: its points {x, y} or none, and the box of it if it was one. */
  atlas.litHere = () => {
    const { layer, view } = atlas.state,
      region = boxOf(current.found);
    const isHere = region?.layer === layer && region?.view === view;
    return { points: points.get(`${layer}/${view}`), box: isHere ? region.box : null };
  };

  atlas.startFound = () => {
    byId("found-clear").onclick = () => atlas.set({ found: "" });
    atlas.onChange((names) => {
      const isElsewhere = names.has("layer") || names.has("view");
      if (names.has("found") || (isElsewhere && isLacking)) follow(atlas.state.found);
      else if (isElsewhere) loadPoints(atlas.state.layer, atlas.state.view).then(atlas.showThumbnails);
    });
  };
}
