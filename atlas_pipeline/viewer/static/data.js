// Data come as scripts that call atlas.receive: from file:// a page may run scripts, and may not fetch.

import { warn } from "./page.js";

/** What there is to see, from viewer/run.js; null: not there yet. */
export let run = null;

const waiting = new Map();

/** Run by every data script: hands its value to whoever asked for the file. */
export const receive = (value) => {
  const { path } = document.currentScript.dataset;
  // The list of what there is comes with the page; all else was asked for.
  if (path === "viewer/run.js") run = value;
  else waiting.get(path)?.resolve(value);
};

/** Where a file of the run is. A changed run has another digest: nobody serves what was there before. */
export const addressOfFile = (path) =>
  `./${path.split("/").map(encodeURIComponent).join("/")}?${run?.digest ?? ""}`;

/** The value of a data file, loaded anew unless it is on its way; what is kept is for the caller to say. */
export const loadFile = (path) => {
  if (waiting.has(path)) return waiting.get(path).promise;
  const request = {};
  request.promise = new Promise((resolve, reject) => Object.assign(request, { resolve, reject }));
  waiting.set(path, request);
  const script = document.createElement("script");
  script.dataset.path = path;
  script.src = addressOfFile(path);
  const done = () => {
    waiting.delete(path);
    script.remove();
    request.reject(new Error(`${path} cannot be loaded`));
  };
  // After a script has run its promise is settled, and rejecting it does nothing.
  script.onload = script.onerror = done;
  document.head.append(script);
  return request.promise;
};

/** A way to ask for files once: (path, read) -> promise. The `most` latest are kept, and none that failed. */
export const fileKeeper = (most = Infinity) => {
  const kept = new Map();
  return (path, read = (value) => value) => {
    if (!kept.has(path)) {
      const promise = loadFile(path).then(read);
      kept.set(path, promise);
      if (kept.size > most) kept.delete(kept.keys().next().value);
      promise.catch(() => kept.get(path) === promise && kept.delete(path));
    }
    return kept.get(path);
  };
};

/** The value of a data file, kept from then on. */
export const keepFile = fileKeeper();

const failures = [];

/** A set of what could not be loaded, and is not asked for again before retryFailed. */
export const failureSet = () => {
  failures.push(new Set());
  return failures.at(-1);
};

/** What could not be loaded may be asked for again. */
export const retryFailed = () => failures.forEach((failed) => failed.clear());

/**
 * What every frame may ask for: the `most` latest values by path. get(path, load, whenThere) is the value, or null
 * while it is on its way; peek(path) sends for nothing. What cannot be loaded is said.
 */
export const fileStore = (most = Infinity) => {
  const values = new Map(),
    failed = failureSet();
  const peek = (path) => values.get(path) ?? null;
  const get = (path, load, whenThere) => {
    if (values.has(path) || failed.has(path)) return peek(path);
    values.set(path, null);
    if (values.size > most) values.delete(values.keys().next().value);
    load()
      .then((value) => values.set(path, value))
      .then(whenThere, (error) => {
        values.delete(path);
        failed.add(path);
        warn(error.message);
      });
    return null;
  };
  return { get, peek };
};

const TYPES = { Uint8Array, Int8Array, Uint16Array, Int16Array, Uint32Array, Int32Array };

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

/** A packed array ({type, data}: deflated, base64) -> typed array. */
export const unpack = async ({ type, data }) => {
  const stream = new Blob([bytesOf(data)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new TYPES[type + "Array"](await new Response(stream).arrayBuffer());
};

/** Every packed array of an object unpacked, the rest as it is. */
export const unpackAll = async (value) => {
  const entries = Object.entries(value).map(async ([name, one]) => [
    name,
    one && typeof one === "object" && "data" in one ? await unpack(one) : one,
  ]);
  return Object.fromEntries(await Promise.all(entries));
};

/** A picture in base64 -> bitmap, decoded aside. A file would leave a canvas that may not be saved. */
export const decodedImage = (base64) =>
  createImageBitmap(new Blob([bytesOf(base64)], { type: "image/webp" }));
