import assert from "node:assert/strict";
import { test } from "node:test";
import {
  BINS,
  borderOf,
  filterable,
  filtersOf,
  histogram,
  limitsOf,
  maskOfFilters,
  setFilter,
} from "../../../atlas_pipeline/viewer/static/filter.js";
import { set, state } from "../../../atlas_pipeline/viewer/static/state.js";
import { giveRun, gridOfSize, MISSING } from "./given.mjs";

giveRun();
set({ layer: "early" });
const GRID = gridOfSize(2, {
  fidelity: Int16Array.of(5000, 7000, MISSING, 10000),
  consistency: Int16Array.of(0, 3333, 10000, 10000),
});

test("filters come back from a link, and what is broken is left out", () => {
  assert.deepEqual([...filtersOf("fidelity~0.5~0.9;count~10~20")], [
    ["fidelity", [0.5, 0.9]],
    ["count", [10, 20]],
  ]);
  for (const broken of ["", "gone~1~2", "fidelity~2~1", "fidelity~~1", "fidelity~a~b", "classes~0~1", "fidelity~1"])
    assert.equal(filtersOf(broken).size, 0);
});

test("a cell is kept if all its numbers are within, and one that is not known is not", () => {
  const kept = (text, without) => [...maskOfFilters(GRID, text, without)];
  assert.deepEqual(kept("fidelity~0.5~0.8"), [1, 1, 0, 0]);
  assert.deepEqual(kept("fidelity~0.5~1;consistency~0.3~1"), [0, 1, 0, 1]);
  assert.deepEqual(kept("fidelity~0.5~0.8;consistency~0.3~1", "fidelity"), [0, 1, 1, 1]);
  assert.equal(maskOfFilters(GRID, ""), null);
  assert.equal(maskOfFilters(GRID, "fidelity~0~1", "fidelity"), null);
});

test("a range of a histogram keeps the cells of its ends, although links are rounded", () => {
  const limits = limitsOf(GRID, "fidelity");
  assert.deepEqual(limits, [0.5, 1]);
  setFilter("fidelity", [1 / 3, 2 / 3 + 1e-9]);
  assert.equal(state.only, "fidelity~0.333333~0.666667");
  const third = gridOfSize(1, { fidelity: Int16Array.of(6667) });
  assert.deepEqual([...maskOfFilters(third, "fidelity~0.666701~1")], [1]);
  setFilter("fidelity", null);
  assert.equal(state.only, "");
});

test("counts go by their logarithm, and the borders of the bins are the limits", () => {
  const limits = [10, 1000];
  assert.ok(Math.abs(borderOf("count", limits, BINS / 2) - 100) < 1e-9);
  assert.deepEqual([borderOf("count", limits, 0), borderOf("count", limits, BINS)], limits);
  assert.equal(borderOf("fidelity", [0, 1], BINS / 4), 0.25);
});

test("a histogram counts every known cell once, and those that the others keep", () => {
  const mask = maskOfFilters(GRID, "consistency~0.3~1");
  const { all, kept } = histogram(GRID, "fidelity", limitsOf(GRID, "fidelity"), mask);
  const sum = (counts) => counts.reduce((a, b) => a + b, 0);
  assert.deepEqual([sum(all), sum(kept)], [3, 2]);
  assert.deepEqual([all[0], all.at(-1), kept[0], kept.at(-1)], [1, 1, 0, 1]);
});

test("a run's measures can filter, the shares where they colour the map, and not the top class", () => {
  assert.deepEqual(filterable(GRID), ["count", "fidelity", "consistency"]);
});
