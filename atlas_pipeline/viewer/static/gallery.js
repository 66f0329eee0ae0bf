// Small pictures of the selected images that are shown whole, each a button that opens its panel.

import { numberWords } from "./cells.js";
import { run } from "./data.js";
import { byId, element, warn } from "./page.js";
import { findImage } from "./search.js";
import { factsOf, knownImages, wholeImages, wholePicture } from "./whole.js";

const AT_ONCE = 12;
let turn = 0;

function pictureButton(whole, slot) {
  const { image, key, label, predicted } = factsOf(whole, slot),
    words = [key, label && `label ${label}`, `predicted ${predicted}`].filter(Boolean).join(", ");
  const made = element("button", {
    title: words,
    "aria-label": `Image ${image}, ${words}`,
    onclick: () => findImage(image),
  });
  wholePicture(whole, slot)
    .then((canvas) => {
      canvas.setAttribute("aria-hidden", "true");
      made.append(canvas);
    })
    .catch((error) => warn(error.message));
  return made;
}

function fillGallery(whole, slots, from) {
  const box = byId("found-images"),
    shown = slots.slice(from, from + AT_ONCE);
  box.hidden = !slots.length;
  const more = element("button", {
    className: "link",
    textContent: from + AT_ONCE < slots.length ? "Next" : "First again",
    onclick: () => fillGallery(whole, slots, from + AT_ONCE < slots.length ? from + AT_ONCE : 0),
  });
  const range = `${numberWords(from + 1)} to ${numberWords(from + shown.length)} of ${numberWords(slots.length)} shown whole `;
  box.replaceChildren(
    element("div", { className: "gallery" }, ...shown.map((slot) => pictureButton(whole, slot))),
    element("p", { className: "note" }, range, slots.length > AT_ONCE ? more : ""),
  );
}

/** Show the pictures of a selection. mask: over the known images' activations; null hides them. */
export const showGallery = async (mask) => {
  const mine = ++turn,
    box = byId("found-images");
  box.hidden = true;
  if (!mask || !run.wholeImages) return;
  try {
    const whole = await wholeImages(),
      { slots } = await knownImages(),
      { positions } = run;
    const isSelected = (image) => {
      const at = slots.get(image) * positions;
      return mask.subarray(at, at + positions).some(Boolean);
    };
    const selected = [...whole.imageId.keys()].filter((slot) => isSelected(whole.imageId[slot]));
    if (mine === turn) fillGallery(whole, selected, 0);
  } catch (error) {
    warn(error.message);
  }
};
