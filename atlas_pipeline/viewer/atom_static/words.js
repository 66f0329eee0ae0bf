// The words of the atoms' pages; all modules that are not in this folder are those of the units' pages.

export const WORDS = {
  folder: "directions",
  file: "atom",
  many: "directions",
  kicker: "Directions",
  about:
    "An atom is a direction of a layer. Sums of atoms, none of them negative, make up the layer's activations. " +
    "Each has a page with its icon, real patches from the whole range of its strength, and its numbers.",
  places: "sampled activations",
  carried: "its total strength",
  top: "Where it is strongest",
  ranges: "Ranges are in standard deviations of the atom's strength from its mean.",
  active: "active in",
  classes:
    "The attributions of the sampled activations, each divided among the atoms by their parts of its energy; the " +
    "mean over the atom's parts, in logits. It is no derivative along the atom.",
  cells: "The cells with its largest mean strength; each opens in the atlas.",
};

/** What the histogram of an atom counts. */
export const countedWords = (values) =>
  `${values.activations.toLocaleString("en")} activations sampled from ${values.images.toLocaleString("en")} images`;

/** The heading of an atom's histogram. */
export const histogramTitle = () => "Its strength";
