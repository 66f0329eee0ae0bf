import assert from "node:assert/strict";
import { test } from "node:test";
import { cameraAt, toMap, zoomedAt } from "../../../atlas_pipeline/viewer/static/camera.js";
import { fitted, fittedWithin, inWhole } from "../../../atlas_pipeline/viewer/static/fitting.js";

const near = (found, wanted) =>
  found.forEach((value, n) => assert.ok(Math.abs(value - wanted[n]) < 1e-9, `${found} is not ${wanted}`));

test("the whole map is 94 % of the shorter side, in the middle", () => {
  const camera = cameraAt({ x: 0.5, y: 0.5, z: 1 }, 1000, 500);
  assert.equal(camera.scale, 470);
  near([camera.left + camera.scale / 2, camera.top + camera.scale / 2], [500, 250]);
});

test("a point of the canvas comes back from the map", () => {
  const camera = cameraAt({ x: 0.2, y: 0.9, z: 7 }, 640, 480);
  const [x, y] = toMap(100, 50, camera);
  near([camera.left + x * camera.scale, camera.top + y * camera.scale], [100, 50]);
  near(toMap(320, 240, camera), [0.2, 0.9]);
});

test("what is under the pointer stays there when the map is zoomed", () => {
  const before = { x: 0.3, y: 0.6, z: 2 };
  for (const z of [0.5, 2, 30]) {
    const after = zoomedAt(before, z, 77, 333, 800, 600);
    assert.equal(after.z, z);
    near(toMap(77, 333, cameraAt(after, 800, 600)), toMap(77, 333, cameraAt(before, 800, 600)));
  }
});

test("zoomed at its middle the map keeps its place", () => {
  const { x, y } = zoomedAt({ x: 0.3, y: 0.6, z: 2 }, 5, 400, 300, 800, 600);
  near([x, y], [0.3, 0.6]);
});

test("a map is fitted to the window by the cells that it has", () => {
  const box = { left: 0.2, top: 0.1, right: 0.6, bottom: 0.9 };
  for (const [width, height] of [
    [1000, 500],
    [500, 1000],
  ]) {
    const place = fitted(box, width, height),
      { left, top, scale } = cameraAt(place, width, height);
    const [across, down] = [0.4 * scale, 0.8 * scale];
    // The tighter of both sides is filled to 94 %, and the middle of the cells is the window's.
    near([Math.max(across / width, down / height)], [0.94]);
    near([left + 0.4 * scale, top + 0.5 * scale], [width / 2, height / 2]);
  }
  assert.deepEqual(fitted({ left: 0, top: 0, right: 1, bottom: 1 }, 800, 600), { x: 0.5, y: 0.5, z: 1 });
});

test("a map is fitted into a part of the window, near to the window's middle", () => {
  const box = { left: 0.2, top: 0.1, right: 0.6, bottom: 0.9 };
  const seen = (area) => {
    const { left, top, scale } = cameraAt(fittedWithin(box, area, 1000, 500), 1000, 500);
    return [left + 0.2 * scale, top + 0.1 * scale, left + 0.6 * scale, top + 0.9 * scale];
  };
  // High enough: it stays in the middle. Off the middle: it moves no farther than it must.
  near(seen({ left: 0, top: 0, right: 900, bottom: 500 }), [382.5, 15, 617.5, 485]);
  near(seen({ left: 0, top: 0, right: 600, bottom: 500 }), [365, 15, 600, 485]);
  // A lower area: it becomes smaller.
  near(seen({ left: 0, top: 100, right: 1000, bottom: 500 }), [406, 100, 594, 476]);
});

test("a place in a part of the window shows the same there when it is given for the whole", () => {
  const place = { x: 0.3, y: 0.6, z: 1.7 };
  for (const area of [
    [820, 850],
    [390, 340],
  ]) {
    const small = cameraAt(place, ...area),
      { left, top, scale } = cameraAt(inWhole(place, area, [1168, 850]), 1168, 850);
    near([left, top, scale], [small.left, small.top, small.scale]);
  }
});
