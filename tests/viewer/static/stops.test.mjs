import assert from "node:assert/strict";
import { test } from "node:test";
import { addressOf, set, state, stateOf } from "../../../atlas_pipeline/viewer/static/state.js";
import {
  addressOfStop,
  movedStop,
  stopsOf,
  textOfStops,
  viewOfStop,
} from "../../../atlas_pipeline/viewer/static/stops.js";
import { giveRun } from "./given.mjs";

giveRun();

test("stops come back from an address, whatever their captions hold", () => {
  set({ layer: "early", x: 0.25, z: 3, lit: "2" });
  const words = ["Fur & feathers = 100 %?", "zwei\nZeilen", "ü"];
  const stops = words.map((caption) => ({ words: caption, address: addressOfStop(state) }));
  set({ stops: textOfStops(stops) });
  const { state: read } = stateOf("#" + addressOf(state));
  const back = stopsOf(read.stops);
  assert.deepEqual(
    back.map((stop) => stop.words),
    ["Fur & feathers = 100 %?", "zwei Zeilen", "ü"],
  );
  const view = viewOfStop(back[1]);
  assert.deepEqual([view.layer, view.x, view.y, view.z, view.lit], ["early", 0.25, 0.5, 3, "2"]);
  assert.equal("stops" in view, false);
});

test("a stop holds no stops itself", () => {
  assert.equal(addressOfStop(state).includes("stops="), false);
});

test("stops are moved within the list", () => {
  assert.deepEqual(movedStop(["a", "b", "c"], 2, 1), ["a", "c", "b"]);
  assert.deepEqual(movedStop(["a", "b", "c"], 0, 1), ["b", "a", "c"]);
  assert.deepEqual(movedStop(["a", "b"], 0, -1), ["a", "b"]);
});
