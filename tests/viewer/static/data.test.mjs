import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateSync } from "node:zlib";
import { addressOfFile, fileCache, unpack, unpackAll } from "../../../atlas_pipeline/viewer/static/data.js";
import { giveRun } from "./given.mjs";

giveRun();
const packed = (array) => ({
  type: array.constructor.name.replace("Array", ""),
  data: deflateSync(Buffer.from(array.buffer)).toString("base64"),
});

test("packed arrays come back with their type and sign", async () => {
  for (const array of [Int16Array.of(-32768, 5, 10000), Uint8Array.of(0, 255), Uint32Array.of(70000)])
    assert.deepEqual(await unpack(packed(array)), array);
});

test("of an object what is packed is unpacked, the rest stays", async () => {
  const read = await unpackAll({
    cells: 3,
    classes: ["data"],
    none: null,
    row: packed(Uint16Array.of(1, 2)),
  });
  assert.deepEqual(read, { cells: 3, classes: ["data"], none: null, row: Uint16Array.of(1, 2) });
});

test("addresses are escaped part by part, and another run has others", () => {
  assert.equal(addressOfFile("late/2/a b?.js"), "./late/2/a%20b%3F.js?d1");
  giveRun({ digest: "d2" });
  assert.equal(addressOfFile("keys/keys.js"), "./keys/keys.js?d2");
  giveRun();
});

test("a file is asked for once, and again only where it failed", async () => {
  const asked = [];
  globalThis.document = {
    createElement: () => ({ dataset: {}, remove() {} }),
    head: {
      append(script) {
        asked.push(script.dataset.path);
        setTimeout(script.onerror);
      },
    },
  };
  const keep = fileCache(1);
  await Promise.allSettled([keep("a.js"), keep("a.js")]);
  assert.deepEqual(asked, ["a.js"]);
  await assert.rejects(keep("a.js"), /a.js cannot be loaded/);
  assert.deepEqual(asked, ["a.js", "a.js"]);
});
