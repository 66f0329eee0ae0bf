import assert from "node:assert/strict";
import { test } from "node:test";
import {
  addressOf,
  validState,
  onChange,
  set,
  state,
  stateOf,
} from "../../../atlas_pipeline/viewer/static/state.js";
import { giveRun } from "./given.mjs";

giveRun();
const DEFAULTS = stateOf("").state;

test("an address holds what differs from the default, and comes back", () => {
  const changed = { ...DEFAULTS, layer: "late/2", x: 0.123456789, labels: false, lit: "3", colour: "far" };
  const address = addressOf(changed);
  assert.equal(address, "map=late-all&layer=late%2F2&x=0.12346&lit=3&colour=far&labels=false");
  assert.deepEqual(stateOf(`#${address}`), {
    state: { ...changed, x: 0.12346 },
    map: "late-all",
    hasPlace: true,
  });
  assert.equal(stateOf("#lit=3").hasPlace, false);
});

test("of a broken address what can be read is read", () => {
  const { state: read, map } = stateOf("#x=abc&y=&z=3&labels=yes&who=me&view=class-a%3Ab");
  assert.deepEqual([read.x, read.y, read.z, read.labels, read.view], [0.5, 0.5, 3, false, "class-a:b"]);
  assert.equal("who" in read, false);
  assert.equal(map, null);
});

test("what is not of this run, or out of bounds, is put right", () => {
  const asked = {
    layer: "gone",
    view: "gone",
    grid: 5,
    x: 9,
    z: 1e9,
    strength: 0,
    sign: "?",
    colour: "toString",
  };
  const got = validState({ ...DEFAULTS, ...asked, lit: "-1", cell: "8.1", path: "0.1;0.2" });
  assert.deepEqual([got.layer, got.view, got.grid, got.x, got.z], ["early", "all", 0, 1.2, 400]);
  assert.deepEqual([got.strength, got.sign, got.colour], [0.25, "for", ""]);
  assert.deepEqual([got.lit, got.cell, got.path], ["", "", ""]);
});

test("what is of this run is left as it is", () => {
  const asked = { layer: "early", view: "class-a:b", grid: 2, x: 0.1, sign: "against", colour: "share-1" };
  const whole = { ...DEFAULTS, ...asked, lit: "12", cell: "2.0.1", path: "0.1,-0.2,0.5,1" };
  assert.deepEqual(validState(whole), whole);
});

test("listeners hear what changed, and nothing where nothing did", () => {
  const heard = [];
  onChange((names, before) => heard.push([[...names].sort(), before.z]));
  set({ layer: "early", z: 2 });
  assert.deepEqual([state.layer, state.z], ["early", 2]);
  set({ z: 2 });
  set({ z: 1e9 });
  assert.deepEqual(heard, [
    [["layer", "z"], 1],
    [["z"], 2],
  ]);
});
