import assert from "node:assert/strict";
import { test } from "node:test";
import { regions } from "../../../atlas_pipeline/viewer/static/labels.js";
import { equidistant, pathPoints } from "../../../atlas_pipeline/viewer/static/trace.js";
import { giveRun, gridOfSize } from "./given.mjs";

giveRun();
const SIZE = 16;
// Side of the map in CSS pixels: two label fields fit across and four down.
const SCALE = 300;

const halves = (more = {}) =>
  gridOfSize(SIZE, {
    numTop: 1,
    top: Array.from({ length: SIZE * SIZE }, (_, cell) => (cell % SIZE < SIZE / 2 ? 0 : 1)),
    classes: ["ant", "a very long name of a class indeed"],
    ...more,
  });

test("a region has its name once, in its field's middle, cut if it is long", () => {
  const names = regions(halves(), SCALE);
  assert.deepEqual(names.map(({ text }) => text).sort(), ["a very long name of a…", "ant"].sort());
  const ant = names.find(({ text }) => text === "ant");
  assert.equal(ant.x, 0.25);
  assert.ok(ant.y < 0.25);
});

test("a field of many classes has no name", () => {
  const top = Array.from({ length: SIZE * SIZE }, (_, cell) => cell % 3);
  assert.deepEqual(regions(halves({ top, classes: ["a", "b", "c"] }), SCALE), []);
});

test("nor has one whose activations disagree within their cells", () => {
  const consistency = (level) => Int16Array.from({ length: SIZE * SIZE }, () => level);
  assert.deepEqual(regions(halves({ consistency: consistency(4000) }), SCALE), []);
  assert.equal(regions(halves({ consistency: consistency(6000) }), SCALE).length, 2);
});

test("a path of a link is pairs of numbers, or none", () => {
  assert.deepEqual(pathPoints("0.1,0.2,0.3,-0.4"), [
    [0.1, 0.2],
    [0.3, -0.4],
  ]);
  for (const broken of ["", "0.1,0.2,0.3", "0.1,1.2.3"]) assert.deepEqual(pathPoints(broken), []);
});

test("points are spread evenly along a line, around its corners", () => {
  const line = [
    [0, 0],
    [1, 0],
    [1, 1],
  ];
  assert.deepEqual(equidistant(line, 5), [
    [0, 0],
    [0.5, 0],
    [1, 0],
    [1, 0.5],
    [1, 1],
  ]);
  assert.deepEqual(
    equidistant(
      [
        [0.5, 0.5],
        [0.5, 0.5],
      ],
      5,
    ),
    [[0.5, 0.5]],
  );
});
