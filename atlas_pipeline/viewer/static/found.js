"use strict";
// Activations that are chosen in one layer light up in all: every layer saw the same images.
{
  const { byId } = atlas;
  const FINEST = 65536; // places are whole numbers of this grid

  /**
   * Where the known images' activations lie in a view: {slot, number, x, y}, y down. A slot is the number of a
   * known image. An activation's is the same in every layer: all take it at the same place of its image.
   */
  atlas.places = (layer, view) =>
    atlas.keep(`${layer}/${view}/places.js`, async (value) => {
      const { slot, ordinal, row, col } = await atlas.unpackAll(value),
        { positions } = atlas.run;
      const unit = (places) => Float32Array.from(places, (place) => (place + 0.5) / FINEST);
      const number = ordinal ? Uint32Array.from(slot, (image, n) => image * positions + ordinal[n]) : slot;
      return { slot, number, x: unit(col), y: unit(row) };
    });

  /** A mask over the known images' activations, by number, that is set for the slots given. */
  atlas.maskOf = (slots) => {
    const { known, positions } = atlas.run,
      mask = new Uint8Array(known * positions);
    for (const slot of slots) mask.fill(1, slot * positions, (slot + 1) * positions);
    return mask;
  };

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
    const { number, x, y } = await atlas.places(layer, view),
      mask = atlas.maskOf([]);
    for (let n = 0; n < number.length; n++) {
      if (x[n] >= x0 && x[n] < x1 && y[n] >= y0 && y[n] < y1) mask[number[n]] = 1;
    }
    return mask;
  }

  /** What a link calls found -> {mask over activations, words}; null: nothing, or of another run. */
  async function resolved(found) {
    const box = boxOf(found);
    if (box) {
      if (!known(box.layer, box.view)) return null;
      const mask = await within(box),
        count = mask.reduce((sum, one) => sum + one, 0),
        what = atlas.run.positions > 1 ? "activation" : "image";
      return {
        mask,
        words: `${atlas.number(count)} ${what}${count === 1 ? "" : "s"} of a region of ${box.layer}`,
      };
    }
    return found ? atlas.searched(found) : null;
  }

  let current = { found: "", mask: null, words: "" };
  const points = new Map(); // layer/view -> {x, y} of what is found

  /** Whether an activation of a known image is among what is found. */
  atlas.isLit = (number) => Boolean(current.mask?.[number]);

  async function pointsIn(layer, view) {
    const { number, x, y } = await atlas.places(layer, view),
      xs = [],
      ys = [];
    for (let n = 0; n < number.length; n++) {
      if (current.mask?.[number[n]]) {
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
    const loaded = await pointsIn(layer, view);
    if (current.found === found) points.set(path, loaded);
    atlas.redraw();
  }

  function showThumbnails() {
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
  }

  async function follow(found) {
    points.clear();
    current = { found, mask: null, words: "" };
    const what = await resolved(found);
    if (atlas.state.found !== found) return;
    current = { found, mask: what?.mask ?? null, words: what?.words ?? "" };
    byId("found").hidden = !what;
    byId("found-words").textContent = current.words;
    if (found && !what) atlas.warn("The link's selection is not of this run.");
    const { layer, view } = atlas.state;
    await loadPoints(layer, view);
    for (const { name, views } of atlas.run.layers) await loadPoints(name, views[0].name);
    showThumbnails();
    atlas.redraw();
  }

  const median = (values) => Float64Array.from(values).sort()[Math.floor(values.length / 2)];

  /** Show another layer or view, and keep the place: where lie the activations that were seen or chosen? */
  atlas.goTo = async (layer, view) => {
    const before = atlas.state,
      chosen = atlas.chosen();
    if (chosen && !before.found) {
      const { grid, cell } = chosen,
        at = (n) => n / grid.size;
      const box = [at(grid.col[cell]), at(grid.row[cell]), at(grid.col[cell] + 1), at(grid.row[cell] + 1)];
      atlas.set({ found: atlas.boxName(before.layer, before.view, box) });
    }
    const camera = atlas.camera();
    const seen = [atlas.toMap(0, 0), atlas.toMap(camera.width, camera.height)].flat();
    atlas.set({ layer, view, cell: "" });
    atlas.glide(before, atlas.state);
    if (before.z < 1.4 || (before.layer === atlas.state.layer && before.view === atlas.state.view)) return;
    const target = atlas.state;
    const mask = atlas.state.found
      ? (await resolved(atlas.state.found))?.mask
      : await within({ layer: before.layer, view: before.view, box: seen });
    const { number, x, y } = await atlas.places(target.layer, target.view),
      there = [];
    for (let n = 0; n < number.length; n++) if (mask?.[number[n]]) there.push(n);
    // The view may have been changed again meanwhile.
    if (there.length && atlas.state.layer === target.layer && atlas.state.view === target.view) {
      atlas.flyTo({ x: median(there.map((n) => x[n])), y: median(there.map((n) => y[n])) });
    }
  };

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
      if (names.has("found")) follow(atlas.state.found);
      else if (names.has("layer") || names.has("view"))
        loadPoints(atlas.state.layer, atlas.state.view).then(showThumbnails);
    });
  };
}
