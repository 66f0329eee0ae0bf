"use strict";
// Small helpers of the panels, and the controls that stand for one name of the state each.
{
  const byId = (id) => document.getElementById(id);
  atlas.byId = byId;

  /** An element with properties and children; text is text, never markup. */
  atlas.element = (tag, properties = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name in made) made[name] = value;
      else made.setAttribute(name, value);
    }
    made.append(...children.filter((child) => child !== null));
    return made;
  };

  let noticeTimer = 0;

  /** A line that goes away by itself. */
  atlas.notice = (words, seconds = 6) => {
    clearTimeout(noticeTimer);
    byId("notice").textContent = words;
    byId("notice").hidden = false;
    noticeTimer = setTimeout(() => (byId("notice").hidden = true), seconds * 1000);
  };
  atlas.warn = (words) => atlas.notice(words, 15);

  /** For screen readers. */
  atlas.say = (words) => (byId("said").textContent = words);

  const valueOf = (text) => ({ true: true, false: false })[text] ?? text;

  function showState() {
    const { state } = atlas;
    for (const button of document.querySelectorAll("[data-state]")) {
      button.setAttribute(
        "aria-pressed",
        String(state[button.dataset.state] === valueOf(button.dataset.value)),
      );
    }
    byId("labels").checked = state.labels;
    byId("colour").value = state.colour;
    byId("strength").value = Math.log2(state.strength);
    byId("strength").setAttribute("aria-valuetext", `${state.strength.toFixed(2)} times`);
    for (const button of byId("grids").children) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.grid) === state.grid));
    }
    const hasCrops = atlas.view().grids.some((grid) => grid.cropPx);
    byId("crops").parentElement.hidden = !hasCrops;
    byId("colour").disabled = !atlas.view().grids.length;
  }

  function showGrids() {
    const { grids } = atlas.view();
    const button = (grid, words) => {
      const made = atlas.element("button", { textContent: words, onclick: () => atlas.set({ grid }) });
      made.dataset.grid = grid;
      if (grid) made.setAttribute("aria-label", `${grid} by ${grid} cells`);
      return made;
    };
    byId("grids").replaceChildren(
      button(0, "Grid by zoom"),
      ...grids.map(({ size }) => button(size, String(size))),
    );
    byId("grids").hidden = grids.length < 2;
  }

  function fillColours() {
    const groups = new Map();
    for (const [name, { words, group = "" }] of Object.entries(atlas.MEASURES)) {
      groups.set(group, [...(groups.get(group) ?? []), new Option(words, name)]);
    }
    byId("colour").replaceChildren(new Option("None", ""));
    for (const [label, options] of groups) {
      byId("colour").append(...(label ? [atlas.element("optgroup", { label }, ...options)] : options));
    }
  }

  /** Save a canvas or blob under a name that any file system takes. */
  atlas.save = (blob, name) => {
    const link = atlas.element("a", {
      href: URL.createObjectURL(blob),
      download: name.replace(/[^\p{L}\p{N}._-]+/gu, "-"),
    });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  };

  const CAPTION = 46;
  let isSaving = false;

  /** What is seen, with a line that says what it is, as PNG. */
  async function saveView() {
    if (isSaving) return;
    isSaving = true;
    const ratio = Math.max(2, devicePixelRatio || 1);
    // It has more pixels than the screen, whose sheets may be too coarse for it.
    await atlas.sharpened(ratio).finally(() => (isSaving = false));
    const camera = atlas.camera();
    const canvas = atlas.element("canvas", {
      width: camera.width * ratio,
      height: (camera.height + CAPTION) * ratio,
    });
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    atlas.paint(context, camera, ratio);
    context.fillStyle = atlas.theme().paper;
    context.fillRect(0, camera.height, camera.width, CAPTION);
    context.fillStyle = atlas.theme().ink;
    Object.assign(context, { font: "13px system-ui, sans-serif", textAlign: "left", textBaseline: "middle" });
    context.fillText(atlas.caption(), 16, camera.height + CAPTION / 2, camera.width - 32);
    canvas.toBlob((blob) =>
      atlas.save(blob, `${atlas.run.run}-${atlas.state.layer}-${atlas.view().title}.png`),
    );
  }

  /** What is seen, in words. */
  atlas.caption = () => {
    const { state, run } = atlas,
      grid = atlas.shown(),
      parts = [run.run, run.model, state.layer];
    if (run.random) parts.unshift(run.weights);
    if (atlas.view().kind !== "all") parts.push(atlas.view().title);
    if (grid) parts.push(`${grid.size} × ${grid.size} grid, ${atlas.number(grid.cells)} icons`);
    parts.push(`${atlas.number(atlas.view().activations)} activations`);
    const column = grid && state.lit !== "" ? grid.classIndices.indexOf(Number(state.lit)) : -1;
    if (column >= 0) parts.push(`what speaks ${state.sign} ${grid.classes[column]}`);
    if (state.colour && atlas.MEASURES[state.colour])
      parts.push(`colour: ${atlas.MEASURES[state.colour].words.toLowerCase()}`);
    return parts.join(" · ");
  };

  async function copyLink() {
    const link = atlas.link();
    try {
      await navigator.clipboard.writeText(link);
      atlas.notice("The link is copied: it opens this very view.");
    } catch {
      // No clipboard here: the address bar holds the same.
      atlas.notice("The address bar holds the link to this view.");
    }
  }

  function setTheme(dark) {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    byId("theme").textContent = dark ? "Light" : "Dark";
    atlas.themeChanged();
  }
  atlas.toggleTheme = () => setTheme(document.documentElement.dataset.theme !== "dark");

  atlas.startControls = () => {
    fillColours();
    setTheme(matchMedia("(prefers-color-scheme: dark)").matches);
    for (const button of document.querySelectorAll("[data-state]")) {
      button.onclick = () => atlas.set({ [button.dataset.state]: valueOf(button.dataset.value) });
    }
    byId("labels").onchange = (event) => atlas.set({ labels: event.target.checked });
    byId("colour").onchange = (event) => atlas.set({ colour: event.target.value });
    byId("strength").oninput = (event) => atlas.set({ strength: 2 ** Number(event.target.value) });
    byId("zoom-in").onclick = () => atlas.flyTo({ z: Math.min(atlas.largestZoom(), atlas.state.z * 1.6) });
    byId("zoom-out").onclick = () => atlas.flyTo({ z: Math.max(0.5, atlas.state.z / 1.6) });
    byId("home").onclick = atlas.home;
    byId("theme").onclick = atlas.toggleTheme;
    byId("copy-link").onclick = copyLink;
    byId("save-view").onclick = saveView;
    byId("help-open").onclick = () => byId("help").showModal();
    atlas.onChange((names) => {
      if (names.has("layer") || names.has("view")) showGrids();
      showState();
    });
  };
}
