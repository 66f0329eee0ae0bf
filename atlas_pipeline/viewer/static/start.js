"use strict";
// Everything is put together, in the order in which the parts need each other.
{
  const { byId, element } = atlas;
  const canvas = byId("map");
  const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  const STEP_PX = 80;

  const KEYS = [
    ["← ↑ → ↓", "move the map; from icon to icon when one is chosen"],
    ["+ −", "zoom in, out"],
    ["0", "the whole map"],
    ["Enter", "choose the icon in the middle"],
    ["Esc", "let it go"],
    ["[ ]", "the layer before, after"],
    ["g", "the next grid"],
    ["c", "icons or dataset patches"],
    ["s", "size by density or full"],
    ["n", "names on the map"],
    ["b", "light up the chosen icon's activations in every layer"],
    ["t", "go on with the path to the chosen icon"],
    ["/", "type a class"],
    ["d", "dark or light"],
    ["?", "this list"],
    ["Shift + drag", "brush a region: its activations light up in every layer"],
  ];

  /** From the chosen cell to the next that has an icon, in a direction. */
  function stepCell([down, right]) {
    const { grid, cell } = atlas.chosen(),
      { size, at } = grid;
    let row = grid.row[cell] + down,
      col = grid.col[cell] + right;
    while (row >= 0 && col >= 0 && row < size && col < size && at[row * size + col] < 0)
      [row, col] = [row + down, col + right];
    const next = row >= 0 && col >= 0 && row < size && col < size ? at[row * size + col] : -1;
    if (next < 0) return void atlas.say("No further icon");
    atlas.choose(grid, next);
  }

  /** The cell nearest to the middle of the screen. */
  function chooseMiddle() {
    const grid = atlas.shown(),
      { x, y } = atlas.state;
    if (!grid) return;
    let best = -1,
      least = Infinity;
    for (let cell = 0; cell < grid.cells; cell++) {
      const far = Math.hypot((grid.col[cell] + 0.5) / grid.size - x, (grid.row[cell] + 0.5) / grid.size - y);
      if (far < least) [best, least] = [cell, far];
    }
    if (best >= 0) atlas.choose(grid, best);
  }

  function nextLayer(step) {
    const { layers } = atlas.run,
      at = layers.findIndex(({ name }) => name === atlas.state.layer);
    const next = layers[at + step];
    if (next) atlas.goTo(next.name, atlas.state.view);
  }

  function nextGrid() {
    const sizes = [0, ...atlas.view().grids.map(({ size }) => size)];
    atlas.set({ grid: sizes[(sizes.indexOf(atlas.state.grid) + 1) % sizes.length] });
  }

  const toggle = (name) => atlas.set({ [name]: !atlas.state[name] });
  const ACTIONS = {
    "+": () => atlas.zoom(1.4),
    "=": () => atlas.zoom(1.4),
    "-": () => atlas.zoom(1 / 1.4),
    0: () => atlas.home(),
    Home: () => atlas.home(),
    Enter: chooseMiddle,
    Escape: () => atlas.set({ cell: "" }),
    "[": () => nextLayer(-1),
    "]": () => nextLayer(1),
    g: nextGrid,
    c: () => toggle("crops"),
    s: () => toggle("full"),
    n: () => toggle("labels"),
    b: () => atlas.lightUp(),
    t: () => atlas.tracePoint(),
    "/": () => (showSide(true), byId("class").focus()),
    d: () => atlas.toggleTheme(),
    "?": () => byId("help").showModal(),
  };

  // Letters work on the map alone: elsewhere they are for typing, and for screen readers.
  canvas.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const arrow = ARROWS[event.key];
    if (arrow && atlas.chosen()) stepCell(arrow);
    else if (arrow) atlas.pan(arrow[1] * STEP_PX, arrow[0] * STEP_PX);
    else if (ACTIONS[event.key]) ACTIONS[event.key]();
    else return;
    event.preventDefault();
  });

  function showSide(on) {
    document.body.classList.toggle("side-open", on);
    byId("open-side").setAttribute("aria-expanded", String(on));
  }

  function fillHead() {
    const { run, model, weights, images, generated, random, layers, report } = atlas.run;
    byId("run-name").textContent = run;
    const several = layers.length > 1;
    byId("lede").replaceChildren(
      "What ",
      several ? `${layers.length} layers` : "a layer",
      " of ",
      element("bdi", { textContent: model }),
      several ? " respond to in " : " responds to in ",
      `${atlas.number(images)} ${generated ? "generated " : ""}images.`,
    );
    byId("alarm").hidden = !random;
    byId("alarm").textContent = `${weights}. This network was never trained: nothing here was learned.`;
    byId("report").hidden = !report;
    byId("help-measures").replaceChildren(
      ...atlas.run.measures
        .filter(({ help }) => help)
        .flatMap(({ panel, help }) => [element("b", { textContent: panel }), `: ${help} `]),
    );
    byId("keys").replaceChildren(
      ...KEYS.flatMap(([keys, words]) => [
        element("dt", { textContent: keys }),
        element("dd", { textContent: words }),
      ]),
    );
    byId("find").closest("section").hidden = !atlas.run.keys;
  }

  function start() {
    if (!atlas.run)
      return void atlas.warn("viewer/run.js is missing: make this folder again with atlas run.");
    fillHead();
    // A map that only moves asks for nothing twice; with every choice what could not be loaded may come.
    atlas.onChange((names) => {
      if ([...names].some((name) => !["x", "y", "z"].includes(name))) atlas.retry();
    });
    atlas.startMeasures();
    atlas.startControls();
    atlas.startLists();
    atlas.startLegend();
    atlas.startClasses();
    atlas.startFound();
    atlas.startBrush();
    atlas.startSearch();
    atlas.startTrace();
    byId("open-side").onclick = () => showSide(!document.body.classList.contains("side-open"));
    byId("close-side").onclick = () => showSide(false);
    atlas.followAddress((isForeign) => {
      if (isForeign)
        atlas.warn("This link is of another map: what it names may lie elsewhere here, or be missing.");
    });
    atlas.startDrawing();
  }
  start();
}
