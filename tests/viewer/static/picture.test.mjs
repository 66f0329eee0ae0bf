import assert from "node:assert/strict";
import { test } from "node:test";
import { columnsOf, difference, strongest, sumsBy } from "../../../atlas_pipeline/viewer/picture_static/evidence.js";

test("attributions are summed by cell, the largest magnitude first, without those of no cell", () => {
  const sums = sumsBy([1, -5, 2, 7], [0, 1, 0, -1]);
  assert.deepEqual(sums, [
    { key: 1, sum: -5, count: 1 },
    { key: 0, sum: 3, count: 2 },
  ]);
});

test("the attribution to a difference is the difference of attributions", () => {
  const columns = [
    [3, 1],
    [1, 4],
  ];
  assert.deepEqual(difference(columns, { at: 0, minus: null }), [3, 1]);
  assert.deepEqual(difference(columns, { at: 0, minus: 1 }), [2, -3]);
});

test("a class that the picture's page does not have is replaced by the first", () => {
  const values = { classes: [{ index: 7 }, { index: 9 }] };
  assert.deepEqual(columnsOf(values, { class: 9, minus: 7 }), { at: 1, minus: 0 });
  assert.deepEqual(columnsOf(values, { class: 5, minus: 5 }), { at: 0, minus: null });
  assert.deepEqual(columnsOf(values, { class: 9, minus: 9 }), { at: 1, minus: null });
});

test("the strongest channels have the sign that is asked for", () => {
  assert.deepEqual(strongest([1, -2, 0, 3], 5, 1), [
    [3, 3],
    [0, 1],
  ]);
  assert.deepEqual(strongest([1, -2, 0, 3], 5, -1), [[1, -2]]);
});
