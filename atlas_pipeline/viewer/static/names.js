// The names of a map's regions, from names.js of the view: which of them a zoom shows, and in what words.

import { fileStore, loadFile, unpackAll } from "./data.js";
import { arrived } from "./legend.js";
import { state, viewShown } from "./state.js";

const PLACE_STEPS = 65536; // places are cells of a grid of this many rows and columns
const SMALLEST = 0.055; // side of a region at which it is named, as a share of the window's shorter side
const WIDEST = 22; // characters of a line
const names = fileStore(60);

/** A label without its synonyms: WordNet's labels list them after commas. */
export const shortLabel = (label) => label.split(",")[0].trim() || label;

/** Words in lines of at most WIDEST characters, where words allow it; a word is never cut. */
export const inLines = (words) => {
  const lines = [""];
  for (const word of words.split(/\s+/)) {
    const line = lines.at(-1);
    if (line && [...line, ...word].length >= WIDEST) lines.push(word);
    else lines[lines.length - 1] = line ? `${line} ${word}` : word;
  }
  return lines;
};

/** The content of names.js as names, those of coarse grids and of many activations first. */
export const namesOf = ({ labels, label, row, col, area, count, agreement, grid }) =>
  Array.from(label, (which, at) => ({
    label: labels[which],
    lines: inLines(shortLabel(labels[which])),
    x: (col[at] + 0.5) / PLACE_STEPS,
    y: (row[at] + 0.5) / PLACE_STEPS,
    side: Math.sqrt(area[at] / 1e6),
    count: count[at],
    agreement: agreement[at] / 1000,
    grid: grid[at],
  }));

/** The names of the shown view; null while they load, or if the view has none. */
export const viewNames = () => {
  if (!viewShown().names) return null;
  const file = `${state.layer}/${state.view}/names.js`;
  return names.get(file, async () => namesOf(await unpackAll(await loadFile(file))), arrived);
};

/**
 * The names to show at a zoom: of regions that are large enough there. They depend on the zoom alone, not on the
 * size of the window, and a nearer view only adds names.
 */
export const namesAt = (all, z) =>
  all.filter(({ side }) => side * z >= SMALLEST).sort((a, b) => b.side - a.side || b.count - a.count);
