import assert from "node:assert/strict";
import { test } from "node:test";
import {
  cellAt,
  decimals,
  levelled,
  measureOf,
  nameOfCell,
  numberWords,
  topClasses,
  wordsFor,
} from "../../../atlas_pipeline/viewer/static/cells.js";
import { measureWords, panelRows } from "../../../atlas_pipeline/viewer/static/detail.js";
import { headingOf } from "../../../atlas_pipeline/viewer/static/evidence.js";
import { giveRun, gridOfSize, MISSING, RUN } from "./given.mjs";

giveRun();
const named = (name) => RUN.measures.find((measure) => measure.name === name);
const GRID = gridOfSize(2, {
  fidelity: Int16Array.of(5000, -2500, MISSING, 10000),
  noise: Int16Array.of(1000, 1000, 1000, 1000),
  roundTrip: Uint16Array.of(0, 4, 65535, 1),
  consistency: Int16Array.of(0, 3333, 10000, MISSING),
  far: Int16Array.of(0, 100, 32767, MISSING),
  farStep: 0.5,
  numTop: 2,
  top: Uint16Array.of(1, 0, 0, 1, 1, 0, 0, 1),
  topValue: Int16Array.of(200, -100, 10, 5, MISSING, MISSING, 1, 0),
  topStep: 0.01,
  classes: ["ant", "bee"],
  classIndices: [7, 3],
});

test("a level is a number of steps; a missing one and one that is not there are not known", () => {
  assert.equal(levelled(-3, 0.5), -1.5);
  assert.equal(levelled(MISSING, 0.5), null);
  assert.equal(levelled(undefined, 0.5), null);
});

test("measures are read by the step of their kind, or the one beside their column", () => {
  assert.deepEqual(
    [0, 1, 2].map((cell) => measureOf(GRID, named("fidelity"), cell)),
    [0.5, -0.25, null],
  );
  assert.deepEqual(
    [1, 3].map((cell) => measureOf(GRID, named("far"), cell)),
    [50, null],
  );
  assert.equal(measureOf(GRID, named("round_trip"), 1), 4);
  assert.equal(measureOf(GRID, named("nearest"), 1), null);
});

test("a measure in words is that of its kind", () => {
  const words = (name) => [0, 1, 3].map((cell) => measureWords(GRID, named(name), cell));
  assert.deepEqual(words("fidelity"), ["0.50", "−0.25", "1.00"]);
  assert.deepEqual(words("round_trip"), ["own cell", "rank 5", "rank 2"]);
  assert.deepEqual(words("consistency"), ["0 %", "33 %", "–"]);
});

test("the panel has a row for every measure that the run shows there and the grid has", () => {
  const { far, ...without } = GRID;
  const shown = (grid) => panelRows(grid, 1).map(({ name, value, small }) => [name, value, small]);
  assert.deepEqual(shown(without), [
    ["Activations", "20", ""],
    ["Fidelity", "−0.25", "noise 0.10"],
    ["Round trip", "rank 5", "of 4"],
    ["Agreement", "33 %", "share one top class"],
  ]);
  assert.deepEqual(shown(GRID).at(-1), ["Far", "50.00", ""]);
  assert.ok(far);
});

test("a row explains its number, and a cosine has a scale with its baselines", () => {
  const [activations, fidelity, roundTrip, agreement] = panelRows(GRID, 1);
  assert.match(activations.help, /^Activations of real images/);
  assert.equal(fidelity.help, "How near.");
  assert.deepEqual(fidelity.scale, [
    [-0.25, ""],
    [0.1, "noise"],
  ]);
  assert.equal(roundTrip.scale, null);
  assert.equal(agreement.scale.length, 1);
  assert.ok(Math.abs(agreement.scale[0][0] - 0.3333) < 1e-9);
});

const patches = (...labels) => labels.map((label) => ({ label }));

test("a cell is called by the class that half of it agrees on, else by what its patches show", () => {
  const agreed = gridOfSize(2, { ...GRID, consistency: Int16Array.of(5000, 4999, 0, MISSING) });
  const title = (cell, nearest) => {
    const { kicker, title: words } = headingOf(agreed, cell, nearest);
    return [kicker, words];
  };
  assert.deepEqual(title(0, patches("pond", "pond", "pond")), ["Speaks for", "bee"]);
  assert.deepEqual(title(1, patches("pond", "pond", "sky")), ["Looks like", "pond"]);
  assert.deepEqual(title(1, patches("pond", "", "sky")), ["Speaks for many classes, first", "ant, bee"]);
  assert.deepEqual(title(2, []), ["A group of", "30 similar activations"]);
  // A run that does not know how far activations agree has no reason to doubt the class.
  assert.deepEqual(title(3, []), ["Speaks for", "ant"]);
});

test("top classes come with their own indices, and without what is missing", () => {
  assert.deepEqual(topClasses(GRID, 0), [
    { column: 1, index: 3, label: "bee", value: 2 },
    { column: 0, index: 7, label: "ant", value: -1 },
  ]);
  assert.deepEqual(topClasses(GRID, 2), []);
  assert.deepEqual(topClasses(gridOfSize(2), 0), []);
});

test("a point of the map is in the cell whose row counts from the top", () => {
  const grid = gridOfSize(4);
  assert.equal(cellAt(grid, 0.99, 0.01), 3);
  assert.equal(cellAt(grid, 0.01, 0.99), 12);
  assert.equal(nameOfCell(grid, 12), "4.3.0");
  for (const [x, y] of [
    [-0.01, 0.5],
    [1, 0.5],
    [0.5, 1],
  ])
    assert.equal(cellAt(grid, x, y), -1);
});

test("numbers have a minus that is as wide as a plus, and nothing has none", () => {
  assert.deepEqual([-1.234, 0.005, -0.001, 12].map(decimals), ["−1.23", "0.01", "0.00", "12.00"]);
  assert.equal(numberWords(1234567), "1,234,567");
  assert.equal(wordsFor(GRID, 0), "Row 1, column 1, 10 activations, strongest class bee");
});
