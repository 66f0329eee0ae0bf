import assert from "node:assert/strict";
import { test } from "node:test";
import { matching } from "../../../atlas_pipeline/viewer/static/choice.js";
import { boxName, boxOf, cellsNamed, maskOf, resolved } from "../../../atlas_pipeline/viewer/static/found.js";
import { optionsFor } from "../../../atlas_pipeline/viewer/static/search.js";
import { giveRun } from "./given.mjs";

giveRun();
const KEYS = {
  imageId: Uint32Array.of(0, 5, 12),
  key: ["dog-12.png", "a/Cat.png", "b/cat-12.png"],
  label: Int32Array.of(1, 0, -1),
  labelNames: ["cat", "dog"],
};
const named = (words) => words.map((one) => ({ words: one }));
const words = (options) => options.map((option) => option.words);

test("those that begin with the text come first, else in their order, whatever the case", () => {
  const options = named(["Big cat", "dog", "Cat", "bobcat", "catfish"]);
  assert.deepEqual(words(matching(options, "CAT")), ["Cat", "catfish", "Big cat", "bobcat"]);
  assert.deepEqual(words(matching(options, "")), words(options));
  assert.deepEqual(matching(options, "emu"), []);
});

test("without a text all labels are offered, with one also images", () => {
  assert.deepEqual(words(optionsFor(KEYS, "")), ["cat", "dog"]);
  assert.deepEqual(words(optionsFor(KEYS, "cat")), ["cat", "a/Cat.png", "b/cat-12.png"]);
  assert.deepEqual(optionsFor(KEYS, "b/")[0], {
    words: "b/cat-12.png",
    beside: "image 12",
    value: "image:12",
  });
});

test("a number is an image's, said where it cannot be found, and a part of names too", () => {
  assert.deepEqual(words(optionsFor(KEYS, "12")), ["b/cat-12.png", "dog-12.png"]);
  for (const text of ["#5", "image 5"]) assert.equal(optionsFor(KEYS, text)[0].value, "image:5");
  assert.deepEqual(words(optionsFor(KEYS, "399")), ["Image 399 is not among the 3 that can be found"]);
  assert.deepEqual(words(optionsFor(KEYS, "400")), []);
});

test("a brushed box comes back from its part of a link, whatever the layer is called", () => {
  const name = boxName("late/2:x", "class-a:b", [0, 0.25, 0.5, 1]);
  assert.equal(name, "box:late%2F2%3Ax:class-a%3Ab:0.0000,0.2500,0.5000,1.0000");
  assert.deepEqual(boxOf(name), { layer: "late/2:x", view: "class-a:b", box: [0, 0.25, 0.5, 1] });
});

test("a link that was cut short names no box", () => {
  for (const broken of ["", "label:3", "box:early:all", "box:early:all:0,0,1", "box:%E0%A:all:0,0,1,1"])
    assert.equal(boxOf(broken), null);
});

test("cells that a picture lies on come from a link as the centres of their squares", async () => {
  const found = "cells:late%2F2:all:4:0.3-2.1";
  assert.deepEqual(cellsNamed(found), {
    layer: "late/2",
    view: "all",
    cells: { x: [0.875, 0.375], y: [0.125, 0.625] },
  });
  const shown = await resolved(found);
  assert.equal(shown.mask, null);
  assert.equal(shown.words, "2 cells of late/2 that a picture lies on");
  assert.equal(await resolved("cells:gone:all:4:0.3"), null);
});

test("a link that was cut short, or names cells beyond the grid, names no cells", () => {
  for (const broken of ["", "box:early:all:0,0,1,1", "cells:early:all:4", "cells:early:all:4:4.0", "cells:early:all:4:1.1-2"])
    assert.equal(cellsNamed(broken), null);
});

test("an image lights up all activations that were taken from it", () => {
  assert.deepEqual(
    [...maskOf([1, 5])].flatMap((lit, number) => (lit ? [number] : [])),
    [2, 3, 10, 11],
  );
  assert.equal(maskOf([]).length, 12);
});
