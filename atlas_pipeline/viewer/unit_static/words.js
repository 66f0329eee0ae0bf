// The words of the units' pages. The pages of atoms share the other modules and have words of their own.

export const WORDS = {
  folder: "units",
  file: "unit",
  many: "units",
  kicker: "Units",
  about:
    "A unit is a channel of a layer. Each has a page with real patches from its whole range, and its numbers.",
  places: "positions",
  carried: "its expected activation",
  top: "Where it fires most",
  ranges: "Ranges are in standard deviations of the unit from its mean.",
  active: "fires in",
  classes:
    "Its value times the derivative of the class's logit by it, at the marked positions of its top images, " +
    "averaged over them; in logits. It estimates what the unit adds there.",
  cells: "The cells with its largest mean activation; each opens in the atlas.",
};

/** What the histogram of a unit counts. */
export const countedWords = (values) => `All positions of ${values.images.toLocaleString("en")} images`;

/** The heading of a unit's histogram. */
export const histogramTitle = (values) => (values.beforeRelu ? "Its values before the ReLU" : "Its values");
