// Real patches of a unit: the top ones, and the ranges of its values.

import { element } from "./page.js";
import { percent, short, square } from "./sheets_of_units.js";
import { countedWords, histogramTitle, WORDS } from "./words.js";

const deviationsOf = (values, value) => (value - values.scale[0]) / values.scale[1];

function patch(sheet, values, [slot, value, key, label, x, y]) {
  const words = `${label || "a patch"}, value ${short(value)}, from ${key}`,
    spot = element("span", { className: "spot" });
  spot.style.left = `${100 * x}%`;
  spot.style.top = `${100 * y}%`;
  return element(
    "figure",
    { className: "patch", title: words },
    element("span", { className: "seen" }, square(sheet, slot, words), spot),
    element("figcaption", {}, element("bdi", { textContent: label || short(value) })),
  );
}

const rangeWords = (borders, number) => {
  if (number === 0) return `below ${short(borders[0])} sd`;
  if (number === borders.length) return `${short(borders[number - 1])} sd and above`;
  return `${short(borders[number - 1])} to ${short(borders[number])} sd`;
};

/** The sections with real patches; a note where the run keeps them private. */
export const exampleSections = (values, sheet) => {
  const { patches } = values;
  if (!patches)
    return [
      element("h2", { textContent: "Real patches" }),
      element("p", { className: "note", textContent: "This run keeps its images private." }),
    ];
  const top = element(
    "div",
    { className: "patches large" },
    ...patches.top.map((one) => patch(sheet, values, one)),
  );
  const ranges = patches.ranges
    .map((examples, number) =>
      element(
        "div",
        { className: "range" },
        element(
          "div",
          {},
          element("b", { textContent: rangeWords(values.borders, number) }),
          element("p", {
            className: "note",
            textContent:
              `${percent(values.positions[number])} of ${WORDS.places}, ` +
              `${percent(values.shares[number])} of ${WORDS.carried}`,
          }),
        ),
        examples.length
          ? element(
              "div",
              { className: "patches" },
              ...examples.map((one) => patch(sheet, values, one)),
            )
          : element("p", { className: "note", textContent: "No image reaches this range." }),
      ),
    )
    .reverse();
  return [
    element("h2", { textContent: WORDS.top }),
    element("p", {
      className: "note",
      textContent:
        `The images with its largest values. A patch is ${patches.side} pixels wide; the ring marks the ` +
        "position.",
    }),
    top,
    element("h2", { textContent: "Over its whole range" }),
    element("p", {
      className: "note",
      textContent:
        "Images drawn at random among those that reach a range; in each, a random position in the range. " +
        WORDS.ranges,
    }),
    ...ranges,
  ];
};

/** The histogram: a bar for each bin, its height the logarithm of the count. */
export const histogram = (values) => {
  const { low, step, counts } = values.histogram,
    most = Math.log1p(Math.max(...counts)),
    [mean, sd] = values.scale,
    end = low + step * counts.length;
  const bars = counts.map((count, bin) => {
    const middle = mean + sd * (low + (bin + 0.5) * step),
      bar = element("span", {
        className: middle > 0 ? "fires" : "",
        title: `${short(low + bin * step)} to ${short(low + (bin + 1) * step)} sd: ${count.toLocaleString("en")}`,
      });
    bar.style.height = `${most ? (100 * Math.log1p(count)) / most : 0}%`;
    return bar;
  });
  return [
    element("h2", { textContent: histogramTitle(values) }),
    element("p", {
      className: "note",
      textContent: `${countedWords(values)}; the height is the logarithm of the count. Dark bars are above 0.`,
    }),
    element(
      "div",
      {
        className: "histogram",
        role: "img",
        "aria-label": `Histogram from ${short(mean + sd * low)} to ${short(mean + sd * end)}; ${percent(values.positive)} of ${WORDS.places} are above 0`,
      },
      ...bars,
    ),
    element(
      "div",
      { className: "ends" },
      element("span", { textContent: `${short(mean + sd * low)} (${short(low)} sd)` }),
      element("span", { textContent: `${short(mean + sd * end)} (${short(end)} sd)` }),
    ),
  ];
};

const number = (name, words) =>
  element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: words }));

/** The numbers of a unit. */
export const numberList = (values) =>
  element(
    "dl",
    { className: "numbers" },
    number(WORDS.active, `${percent(values.firing)} of images`),
    number(WORDS.active.replace("in", "at"), `${percent(values.positive)} of ${WORDS.places}`),
    number("mean, standard deviation", `${short(values.mean)}, ${short(values.sd)}`),
    number("smallest, largest", `${short(values.least)}, ${short(values.most)}`),
    number(
      "largest",
      `${short(deviationsOf(values, values.most))} standard deviations above the mean`,
    ),
  );
