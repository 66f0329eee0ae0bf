"use strict";
// From layer to layer: the activations of the same images glide from where they lay to where they lie.
{
  const MOST = 3000,
    MILLISECONDS = 900;
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let glide = null;

  /** Begin between two views, once both have their places; nothing where motion is not wanted. */
  atlas.glide = async (from, to) => {
    glide = null;
    if (still.matches || (from.layer === to.layer && from.view === to.view)) return;
    const [before, after] = await Promise.all([
      atlas.places(from.layer, from.view),
      atlas.places(to.layer, to.view),
    ]);
    if (atlas.state.layer !== to.layer || atlas.state.view !== to.view) return;
    const at = new Map();
    before.slot.forEach((slot, n) => at.set(slot, n));
    const every = Math.max(1, Math.ceil(after.slot.length / MOST)),
      pairs = [];
    for (let n = 0; n < after.slot.length; n += every) {
      const old = at.get(after.slot[n]);
      if (old !== undefined) pairs.push([before.x[old], before.y[old], after.x[n], after.y[n]]);
    }
    glide = { pairs, start: performance.now() };
    atlas.redraw();
  };

  /** The activations on their way, over a map that fades in. */
  atlas.drawGlide = (target, { left, top, scale, width, height }) => {
    if (!glide) return;
    const share = (performance.now() - glide.start) / MILLISECONDS;
    if (share >= 1) return void (glide = null);
    const { paper, muted } = atlas.theme(),
      eased = share * share * (3 - 2 * share);
    target.globalAlpha = Math.min(1, 2.2 * (1 - share));
    target.fillStyle = paper;
    target.fillRect(0, 0, width, height);
    target.fillStyle = muted;
    for (const [x0, y0, x1, y1] of glide.pairs) {
      target.fillRect(
        left + (x0 + (x1 - x0) * eased) * scale - 1.25,
        top + (y0 + (y1 - y0) * eased) * scale - 1.25,
        2.5,
        2.5,
      );
    }
    target.globalAlpha = 1;
    // The next frame goes on.
    requestAnimationFrame(atlas.redraw);
  };
}
