// The stops of a talk: places of the map with captions, all kept in the address, so that one link is the whole talk.

import { addressOf, stateOf } from "./state.js";

/** The stops of a link: [{words, address}]; address: of the view, without stops of its own. */
export const stopsOf = (text) =>
  text
    .split("\n")
    .filter(Boolean)
    .map((line) => {
      const parts = new URLSearchParams(line),
        words = parts.get("caption") ?? "";
      parts.delete("caption");
      return { words, address: parts.toString() };
    });

/** The inverse of stopsOf. */
export const textOfStops = (stops) =>
  stops
    .map(({ words, address }) => {
      const parts = new URLSearchParams(address);
      // Captions are single lines; a line break would end the stop.
      parts.set("caption", words.replace(/\s+/g, " ").trim());
      return parts.toString();
    })
    .join("\n");

/** The address of a view as a stop holds it. */
export const addressOfStop = (shown) => addressOf({ ...shown, stops: "", path: "" });

/** The view of a stop: a state without its own stops. */
export const viewOfStop = ({ address }) => {
  const { stops, ...view } = stateOf(address).state;
  return view;
};

/** A list with the item at one place moved to another; the same list if there is no such place. */
export const movedStop = (stops, from, to) => {
  if (to < 0 || to >= stops.length) return stops;
  const rest = stops.filter((_, at) => at !== from);
  return [...rest.slice(0, to), stops[from], ...rest.slice(to)];
};
