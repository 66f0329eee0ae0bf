import assert from "node:assert/strict";
import { test } from "node:test";
import { inLines, namesAt, namesOf, shortLabel } from "../../../atlas_pipeline/viewer/static/names.js";
import { coverage, placeNames } from "../../../atlas_pipeline/viewer/static/placing.js";
import { equidistant, pathPoints } from "../../../atlas_pipeline/viewer/static/trace.js";
import { giveRun, gridOfSize } from "./given.mjs";

giveRun();

test("a label loses its synonyms, and its words are never cut", () => {
  assert.equal(shortLabel("great white shark, white shark, man-eater"), "great white shark");
  assert.equal(shortLabel(""), "");
  assert.deepEqual(inLines("German short-haired pointer"), ["German short-haired", "pointer"]);
  assert.deepEqual(inLines("floccinaucinihilipilification"), ["floccinaucinihilipilification"]);
});

const FILE = {
  labels: ["ant", "bee"],
  label: [1, 0, 1],
  row: [0, 32767, 65535],
  col: [0, 32767, 65535],
  area: [10000, 250000, 400],
  count: [5, 70, 9],
  agreement: [500, 750, 1000],
  grid: [8, 8, 32],
};

test("names come back from their file", () => {
  const [first, second] = namesOf(FILE);
  assert.deepEqual([first.label, first.count, first.agreement, first.grid], ["bee", 5, 0.5, 8]);
  assert.ok(Math.abs(second.x - 0.5) < 1e-4 && Math.abs(second.side - 0.5) < 1e-9);
});

test("a nearer view only adds names, and those of the largest regions come first", () => {
  const all = namesOf(FILE);
  const shown = [0.5, 1, 3].map((z) => namesAt(all, z).map(({ side }) => side));
  assert.deepEqual(shown, [[0.5], [0.5, 0.1], [0.5, 0.1, 0.02]]);
});

// The left half of this map has icons, the right half none.
const HALF = gridOfSize(10);
for (let cell = 0; cell < 100; cell++) if (cell % 10 > 4) HALF.at[cell] = -1;

test("the share of a box that lies on icons", () => {
  assert.ok(Math.abs(coverage(HALF, { left: 0.1, top: 0.1, right: 0.3, bottom: 0.3 }) - 1) < 1e-9);
  const half = coverage(HALF, { left: 0.44, top: 0.21, right: 0.56, bottom: 0.44 });
  assert.ok(Math.abs(half - 0.5) < 1e-9);
  assert.equal(coverage(HALF, { left: 0.7, top: 0.2, right: 1.2, bottom: 0.4 }), 0);
});

const name = (x, y, words = "ant") => ({ x, y, side: 0.2, lines: [words], size: [50, 20] });

test("a name lies on white where there is white within reach, else on its region", () => {
  const [near, far] = placeNames([name(0.45, 0.5), name(0.2, 0.5)], HALF, 1000, false);
  assert.ok(near.x - 25 / 1000 >= 0.5, "off the icons");
  assert.deepEqual([near.anchor, near.y], [[0.45, 0.5], 0.5]);
  assert.deepEqual([far.x, far.y], [0.2, 0.5]);
});

test("a name that is much wider than its region hides no icons, and lies on no far white", () => {
  const small = { ...name(0.2, 0.5), side: 0.02 };
  assert.deepEqual(placeNames([small], HALF, 400, false), []);
  // Beside the icons it has a place.
  assert.equal(placeNames([{ ...small, x: 0.49 }], HALF, 400, false).length, 1);
});

test("names never overlap; of two for one place the first is placed first", () => {
  const many = Array.from({ length: 30 }, (_, at) => name(0.2, 0.5, String(at)));
  const placed = placeNames(many, HALF, 300, false);
  assert.equal(placed[0].lines[0], "0");
  assert.ok(placed.length > 3 && placed.length < 30);
  for (const [at, one] of placed.entries())
    for (const other of placed.slice(at + 1))
      assert.ok(Math.abs(one.x - other.x) * 300 > 49.9 || Math.abs(one.y - other.y) * 300 > 19.9);
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
