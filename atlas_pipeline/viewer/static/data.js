// Loading of data files. They are scripts that call atlas.receive, because a page at file:// may run scripts but
// may not fetch files.

import { warn } from "./page.js";

/** The description of the run, from viewer/run.js; null until it is loaded. */
export let run = null;

const waiting = new Map();

/** Called by every data script with its value; resolves the pending request for the file. */
export const receive = (value) => {
  const { path } = document.currentScript.dataset;
  // The page itself loads the run's description; all other files are loaded by loadFile.
  if (path === "viewer/run.js") run = value;
  else waiting.get(path)?.resolve(value);
};

/** The address of a file of the run. It contains the run's digest, so that caches never give an old file. */
export const addressOfFile = (path) =>
  `./${path.split("/").map(encodeURIComponent).join("/")}?${run?.digest ?? ""}`;

/** A promise of a data file's value. Only a load in progress is shared; callers cache values themselves. */
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
  // If the script has run, the promise is settled, and rejecting it has no effect.
  script.onload = script.onerror = done;
  document.head.append(script);
  return request.promise;
};

/** A cached loader (path, read) -> promise. It keeps the `maxFiles` latest files, and no failed loads. */
export const fileCache = (maxFiles = Infinity) => {
  const kept = new Map();
  return (path, read = (value) => value) => {
    if (!kept.has(path)) {
      const promise = loadFile(path).then(read);
      kept.set(path, promise);
      if (kept.size > maxFiles) kept.delete(kept.keys().next().value);
      promise.catch(() => kept.get(path) === promise && kept.delete(path));
    }
    return kept.get(path);
  };
};

/** A promise of a data file's value, which is cached without limit. */
export const cachedFile = fileCache();

const failures = [];

/** A new set of paths that could not be loaded; retryFailed empties it, so that they are requested again. */
export const failureSet = () => {
  failures.push(new Set());
  return failures.at(-1);
};

/** Allow all paths that could not be loaded to be requested again. */
export const retryFailed = () => failures.forEach((failed) => failed.clear());

/**
 * A cache that every frame may query; it keeps the `maxFiles` latest values by path. get(path, load, whenLoaded)
 * returns the value, or null while it loads; peek(path) never loads. Failed loads show a warning.
 */
export const fileStore = (maxFiles = Infinity) => {
  const values = new Map(),
    failed = failureSet();
  const peek = (path) => values.get(path) ?? null;
  const get = (path, load, whenLoaded) => {
    if (values.has(path) || failed.has(path)) return peek(path);
    values.set(path, null);
    if (values.size > maxFiles) values.delete(values.keys().next().value);
    load()
      .then((value) => values.set(path, value))
      .then(whenLoaded, (error) => {
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

/** A packed array {type, data}, deflated and base64-encoded -> typed array. */
export const unpack = async ({ type, data }) => {
  const stream = new Blob([bytesOf(data)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new TYPES[type + "Array"](await new Response(stream).arrayBuffer());
};

/** An object with its packed arrays unpacked and its other values unchanged. */
export const unpackAll = async (value) => {
  const entries = Object.entries(value).map(async ([name, one]) => [
    name,
    one && typeof one === "object" && "data" in one ? await unpack(one) : one,
  ]);
  return Object.fromEntries(await Promise.all(entries));
};

/** A base64-encoded picture -> bitmap. A canvas with a picture file drawn on it could not be saved. */
export const decodedImage = (base64) =>
  createImageBitmap(new Blob([bytesOf(base64)], { type: "image/webp" }));
