// Controls that each show and change one entry of the state, and saving, copying and the colour theme.

import { cameraOf, flyTo, largestZoom } from "./camera.js";
import { goHome } from "./fitting.js";
import { gridShown, numberWords } from "./cells.js";
import { run } from "./data.js";
import { detailLoaded, paint, theme, themeChanged } from "./draw.js";
import { filtersOf } from "./filter.js";
import { drawLegends, heightOfLegends } from "./legend_picture.js";
import { measured, MEASURES } from "./measures.js";
import { byId, element, notice, remember, remembered } from "./page.js";
import { currentLink, onChange, set, state, viewShown } from "./state.js";

const valueOf = (text) => ({ true: true, false: false })[text] ?? text;

function showState() {
  for (const button of document.querySelectorAll("[data-state]")) {
    button.setAttribute(
      "aria-pressed",
      String(state[button.dataset.state] === valueOf(button.dataset.value)),
    );
  }
  byId("labels").checked = state.labels;
  byId("strength").value = Math.log2(state.strength);
  byId("strength").setAttribute("aria-valuetext", `${state.strength.toFixed(2)} times`);
  for (const button of byId("grids").children) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.grid) === state.grid));
  }
  const hasCrops = viewShown().grids.some((grid) => grid.cropPx);
  byId("crops").parentElement.hidden = !hasCrops;
  byId("colour").disabled = !viewShown().grids.length;
}

function showGrids() {
  const { grids } = viewShown();
  const button = (grid, words) => {
    const made = element("button", { textContent: words, onclick: () => set({ grid }) });
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

/** Download a blob under a name in which characters that file systems may refuse are replaced. */
export const saveFile = (blob, name) => {
  const link = element("a", {
    href: URL.createObjectURL(blob),
    download: name.replace(/[^\p{L}\p{N}._-]+/gu, "-"),
  });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
};

const CAPTION_PX = 46;
let isSaving = false;

/** Save the visible map with its legends and a caption as PNG. */
async function saveView() {
  if (isSaving) return;
  isSaving = true;
  const ratio = Math.max(2, devicePixelRatio || 1);
  // The picture has more pixels than the screen, for which finer sheets may have to be loaded.
  await detailLoaded(ratio).finally(() => (isSaving = false));
  const camera = cameraOf(),
    legendPx = heightOfLegends(),
    below = camera.height + legendPx;
  const canvas = element("canvas", { width: camera.width * ratio, height: (below + CAPTION_PX) * ratio });
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  paint(context, camera, ratio, "high");
  context.fillStyle = theme().paper;
  context.fillRect(0, camera.height, camera.width, legendPx + CAPTION_PX);
  drawLegends(context, 16, camera.height, camera.width - 32);
  context.fillStyle = theme().ink;
  Object.assign(context, { font: "13px system-ui, sans-serif", textAlign: "left", textBaseline: "middle" });
  context.fillText(caption(), 16, below + CAPTION_PX / 2, camera.width - 32);
  canvas.toBlob((blob) => saveFile(blob, `${run.run}-${state.layer}-${viewShown().title}.png`));
}

/** A description of the visible map. */
export const caption = () => {
  const grid = gridShown(),
    parts = [run.run, run.model, state.layer];
  if (run.random) parts.unshift(run.weights);
  if (viewShown().kind !== "all") parts.push(viewShown().title);
  if (grid) parts.push(`${grid.size} × ${grid.size} grid, ${numberWords(grid.cells)} icons`);
  parts.push(`${numberWords(viewShown().activations)} activations`);
  const column = grid && state.lit !== "" ? grid.classIndices.indexOf(Number(state.lit)) : -1;
  if (column >= 0) parts.push(`what speaks ${state.sign} ${grid.classes[column]}`);
  for (const [name, ends] of filtersOf(state.only))
    parts.push(`only ${MEASURES[name].words.toLowerCase()} ${ends.map((end) => measured(name, end)).join(" – ")}`);
  if (state.colour && MEASURES[state.colour])
    parts.push(`colour: ${MEASURES[state.colour].words.toLowerCase()}`);
  return parts.join(" · ");
};

async function copyLink() {
  const link = currentLink();
  try {
    await navigator.clipboard.writeText(link);
    notice("The link is copied: it opens this very view.");
  } catch {
    // Without access to the clipboard, the user can copy the link from the address bar.
    notice("The address bar holds the link to this view.");
  }
}

function setTheme(theme) {
  const dark = theme === "dark";
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = dark ? "Light" : "Dark";
  themeChanged();
}
export const toggleTheme = () => {
  const chosen = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  remember("theme", chosen);
  setTheme(chosen);
};

export const startControls = () => {
  const preferred = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  setTheme(remembered("theme") ?? preferred);
  for (const button of document.querySelectorAll("[data-state]")) {
    button.onclick = () => set({ [button.dataset.state]: valueOf(button.dataset.value) });
  }
  byId("labels").onchange = (event) => set({ labels: event.target.checked });
  byId("strength").oninput = (event) => set({ strength: 2 ** Number(event.target.value) });
  byId("zoom-in").onclick = () => flyTo({ z: Math.min(largestZoom(), state.z * 1.6) });
  byId("zoom-out").onclick = () => flyTo({ z: Math.max(0.5, state.z / 1.6) });
  byId("home").onclick = goHome;
  byId("theme").onclick = toggleTheme;
  byId("copy-link").onclick = copyLink;
  byId("save-view").onclick = saveView;
  byId("help-open").onclick = () => byId("help").showModal();
  onChange((names) => {
    if (names.has("layer") || names.has("view")) showGrids();
    showState();
  });
};
