"use strict";
// Where the map is on the screen, and how hands and keys move it. Units: CSS pixels, and the unit square.
{
  const MARGIN = 0.94; // of the shorter side: so large is the whole map at zoom 1
  const canvas = document.getElementById("map");

  /** {width, height, scale, left, top}: the map is `scale` pixels wide, its corner at left, top. */
  atlas.camera = (state = atlas.state) => {
    const { clientWidth: width, clientHeight: height } = canvas;
    const scale = Math.min(width, height) * MARGIN * state.z;
    return { width, height, scale, left: width / 2 - state.x * scale, top: height / 2 - state.y * scale };
  };

  /** A point of the canvas -> of the unit square. */
  atlas.toMap = (x, y) => {
    const { left, top, scale } = atlas.camera();
    return [(x - left) / scale, (y - top) / scale];
  };

  /** Zoom by a factor; the point under x, y (CSS pixels; none: the middle) stays where it is. */
  atlas.zoom = (factor, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) => {
    const { state } = atlas;
    const z = Math.min(atlas.largestZoom(), Math.max(0.5, state.z * factor));
    const [mapX, mapY] = atlas.toMap(x, y);
    const { scale, width, height } = atlas.camera({ ...state, z });
    atlas.set({ z, x: mapX - (x - width / 2) / scale, y: mapY - (y - height / 2) / scale });
  };

  atlas.pan = (right, down) => {
    const { scale } = atlas.camera();
    atlas.set({ x: atlas.state.x + right / scale, y: atlas.state.y + down / scale });
  };

  /** So far that one icon of the finest grid is 320 pixels wide. */
  atlas.largestZoom = () => {
    const finest = Math.max(20, ...atlas.view().grids.map((grid) => grid.size));
    return (320 * finest) / (Math.min(canvas.clientWidth, canvas.clientHeight) * MARGIN || 1);
  };

  let flight = null; // {to, at: the place that it set last, request}
  const PLACE = ["x", "y", "z"];
  const still = matchMedia("(prefers-reduced-motion: reduce)");

  /** Go to a place smoothly: {x, y, z}, any of them. */
  atlas.flyTo = (target) => {
    stop();
    const from = atlas.state,
      start = performance.now();
    const to = { x: from.x, y: from.y, z: from.z, ...target };
    if (still.matches) return void atlas.set(to);
    const step = (now) => {
      // Whoever moves the map meanwhile has the last word: wheel, keys, minimap, a link.
      if (!atlas.isFlying()) return void stop();
      const share = Math.min(1, (now - start) / 350),
        eased = 1 - (1 - share) ** 3;
      const between = (name) => from[name] + (to[name] - from[name]) * eased;
      atlas.set({ x: between("x"), y: between("y"), z: from.z * (to.z / from.z) ** eased });
      if (share < 1) flight = { to, at: atlas.state, request: requestAnimationFrame(step) };
      else flight = null;
    };
    flight = { to, at: from, request: requestAnimationFrame(step) };
  };

  function stop() {
    if (flight) cancelAnimationFrame(flight.request);
    flight = null;
  }

  /** Whether the map is on its way, and nobody has moved it since. */
  atlas.isFlying = () => flight !== null && PLACE.every((name) => atlas.state[name] === flight.at[name]);

  /** Be there at once. */
  atlas.land = () => {
    const to = atlas.isFlying() ? flight.to : null;
    stop();
    if (to) atlas.set(to);
  };
  atlas.home = () => atlas.flyTo({ x: 0.5, y: 0.5, z: 1 });

  const SECOND_CLICK_MS = 250;
  let picking = 0;

  /** Choose what was clicked, unless a second click follows: the panel would take it from the map. */
  function pickSoon(x, y) {
    const at = atlas.toMap(x, y),
      { layer, view } = atlas.state;
    picking = setTimeout(() => {
      if (atlas.state.layer === layer && atlas.state.view === view) atlas.pick(...at);
    }, SECOND_CLICK_MS);
  }

  const fingers = new Map();
  let travelled = 0,
    mode = "pan";
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  /** How a drag is taken: "pan", "brush" or "trace"; for brush and trace `handler(phase, x, y)` is called. */
  let handler = null;
  atlas.takeDrags = (name, take) => {
    mode = name;
    handler = take ?? null;
    canvas.dataset.mode = name;
  };
  atlas.dragMode = () => mode;

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    stop();
    clearTimeout(picking);
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, place(event));
    travelled = fingers.size > 1 ? Infinity : 0;
    const taken = handler ?? (event.shiftKey ? atlas.brushDrag : null);
    if (taken && fingers.size === 1) {
      fingers.taken = taken;
      taken("start", ...place(event));
    }
  });

  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId),
      [x, y] = place(event);
    if (!before) return void atlas.point(x, y, event.clientX, event.clientY);
    travelled += Math.hypot(x - before[0], y - before[1]);
    fingers.set(event.pointerId, [x, y]);
    if (fingers.taken) return void fingers.taken("move", x, y);
    if (travelled > 4) atlas.point(null);
    if (fingers.size === 2) {
      const [[otherX, otherY]] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      const span = (at) => Math.hypot(at[0] - otherX, at[1] - otherY);
      const middle = [(before[0] + otherX) / 2, (before[1] + otherY) / 2];
      atlas.zoom(span([x, y]) / Math.max(1, span(before)), ...middle);
      atlas.pan((before[0] - x) / 2, (before[1] - y) / 2);
    } else {
      atlas.pan(before[0] - x, before[1] - y);
    }
  });

  const lift = (event) => {
    if (!fingers.delete(event.pointerId)) return;
    if (fingers.taken) {
      fingers.taken(event.type === "pointerup" ? "end" : "cancel", ...place(event));
      fingers.taken = null;
    } else if (event.type === "pointerup" && travelled <= 4) {
      pickSoon(...place(event));
    }
  };
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("pointerleave", () => atlas.point(null));
  canvas.addEventListener("dblclick", (event) => {
    clearTimeout(picking);
    if (mode === "pan") atlas.zoom(2, ...place(event));
  });
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      // Lines and pages to pixels; a trackpad's pinch comes as a wheel with ctrl, in finer steps.
      const pixels = event.deltaY * [1, 16, 400][event.deltaMode];
      atlas.zoom(Math.exp(-pixels * (event.ctrlKey ? 0.01 : 0.0016)), ...place(event));
    },
    { passive: false },
  );
}
