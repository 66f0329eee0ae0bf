// The field that chooses the number by which the map is coloured: grouped, and narrowed by typing.

import { choiceField } from "./choice.js";
import { MEASURES } from "./measures.js";
import { byId } from "./page.js";
import { onChange, set, state, viewShown } from "./state.js";

/** The measures as options, each group below a heading; those whose name or group contains the text. */
export const colourOptions = (text) => {
  const wanted = text.toLowerCase(),
    groups = new Map();
  for (const [name, { words, group }] of Object.entries(MEASURES)) {
    if (!`${words} ${group}`.toLowerCase().includes(wanted)) continue;
    groups.set(group, [...(groups.get(group) ?? []), { words, value: name, isChosen: name === state.colour }]);
  }
  const none = { words: "None", value: "", isChosen: state.colour === "" };
  return [
    ...(wanted ? [] : [none]),
    ...[...groups].flatMap(([group, options]) => [{ words: group, isHeading: true }, ...options]),
  ];
};

function showColour() {
  const field = byId("colour");
  if (document.activeElement !== field) field.value = MEASURES[state.colour]?.words ?? "";
  field.disabled = !viewShown().grids.length;
  byId("colour-clear").hidden = !state.colour;
}

export const startColours = () => {
  choiceField({
    input: byId("colour"),
    list: byId("colour-list"),
    find: (text, isTyped) => colourOptions(isTyped ? text : ""),
    choose: (colour) => {
      byId("colour").blur();
      set({ colour });
    },
  });
  byId("colour").addEventListener("blur", showColour);
  byId("colour-clear").onclick = () => set({ colour: "" });
  onChange(showColour);
};
