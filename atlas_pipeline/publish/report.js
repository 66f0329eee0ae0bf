// The theme is the one chosen in the viewer, else the system's.
function chosenTheme() {
  try {
    return localStorage.getItem("atlas-theme");
  } catch {
    return null; // some browsers keep nothing for pages at file://
  }
}
const preferred = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
document.documentElement.dataset.theme = chosenTheme() ?? preferred;

// This script shows one atlas at a time. Without it, the page shows all atlases, and the links jump to them.
const atlases = [...document.querySelectorAll("section.atlas")];
const links = [...document.querySelectorAll("nav a")];

function show() {
  const wanted = decodeURIComponent(location.hash.slice(1));
  const shown = atlases.find((atlas) => atlas.id === wanted) || atlases[0];
  for (const atlas of atlases) atlas.hidden = atlas !== shown;
  for (const link of links) {
    if (shown && link.hash === "#" + shown.id) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

addEventListener("hashchange", show);
addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
  const next = atlases[atlases.findIndex((atlas) => !atlas.hidden) + step];
  if (next) location.hash = next.id;
});
show();
