import assert from "node:assert/strict";
import { test } from "node:test";
import { MEASURES, measured, rangeOf } from "../../../atlas_pipeline/viewer/static/measures.js";
import {
  commonest,
  opacityOf,
  scaleColour,
  sharesOf,
} from "../../../atlas_pipeline/viewer/static/overlay.js";
import { set } from "../../../atlas_pipeline/viewer/static/state.js";
import { giveRun, gridOfSize, MISSING } from "./given.mjs";

giveRun();

test("the map is coloured by the count, the run's measures, the top class, and shares", () => {
  const words = Object.entries(MEASURES).map(([name, { words }]) => [name, words]);
  assert.deepEqual(words, [
    ["count", "Activations"],
    ["fidelity", "Fidelity"],
    ["consistency", "Agreement"],
    ["far", "Far"],
    ["classes", "Top class"],
    ["share-0", "label: cat"],
    ["share-1", "Mean age"],
  ]);
  assert.deepEqual([MEASURES["share-0"].percent, MEASURES["share-1"].percent], [true, false]);
});

test("a range leaves the outermost hundredths out, and what is not known", () => {
  const levels = Int16Array.from({ length: 400 }, (_, cell) => (cell === 7 ? MISSING : cell));
  const grid = gridOfSize(20, { fidelity: levels });
  const [low, high] = rangeOf(grid, "fidelity");
  assert.ok(Math.abs(low - 4e-4) < 1e-9 && Math.abs(high - 395e-4) < 1e-9);
  assert.equal(rangeOf(gridOfSize(2), "fidelity"), null);
});

test("numbers are written as their measure is", () => {
  assert.equal(measured("count", 12345), "12,345");
  assert.equal(measured("fidelity", -0.25), "−0.25");
  assert.equal(measured("share-0", 0.256), "26 %");
  assert.equal(measured("share-1", 1999.5), "2,000");
});

test("a share of the scale goes in straight lines between its colours, within its ends", () => {
  assert.deepEqual(scaleColour(0.5), [128, 128, 128]);
  assert.deepEqual(scaleColour(0.25), [64, 64, 64]);
  assert.deepEqual([scaleColour(-1)[0], scaleColour(2)[0]], [0, 255]);
});

test("counts go by their logarithm, others evenly, and the least is not white", () => {
  const near = (found, wanted) => assert.ok(Math.abs(found - wanted) < 1e-9);
  near(sharesOf("count", [1, 100])(10), 0.06 + 0.94 / 2);
  near(sharesOf("fidelity", [0, 1])(0.25), 0.06 + 0.94 / 4);
  assert.equal(sharesOf("fidelity", [0.5, 0.5])(0.5), 1);
  assert.equal(sharesOf("share-0", [0, 0])(0), 0.06);
});

test("the commonest top classes have the palette's colours, of two alike the first", () => {
  const grid = gridOfSize(3, { numTop: 1, top: [2, 1, 1, 0, 0, 2, 2, 2, 2], classes: ["ant", "bee", "cat"] });
  assert.deepEqual(commonest(grid), [
    { column: 2, count: 5, label: "cat", colour: "#ff0000" },
    { column: 0, count: 2, label: "ant", colour: "#00ff00" },
  ]);
  assert.deepEqual(commonest(gridOfSize(2)), []);
});

test("a cell is seen by how strongly it speaks for or against the class", () => {
  const attribution = { levels: Int8Array.of(127, -64, 0) };
  const opacities = () => [0, 1, 2].map((cell) => opacityOf(attribution, cell));
  set({ layer: "early", lit: "0" });
  assert.deepEqual(opacities(), [1, 0, 0]);
  set({ sign: "against" });
  assert.deepEqual(opacities(), [0, 64 / 127, 0]);
  set({ strength: 4 });
  assert.deepEqual(opacities(), [0, 1, 0]);
});
