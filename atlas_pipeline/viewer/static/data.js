"use strict";
// Data come as scripts that call atlas.receive: from file:// a page may run scripts, and may not fetch.
window.atlas = {};
{
  const waiting = new Map();

  /** Run by every data script: hands its value to whoever asked for the file. */
  atlas.receive = (value) => {
    const { path } = document.currentScript.dataset;
    // The list of what there is comes with the page; all else was asked for.
    if (path === "viewer/run.js") atlas.run = value;
    else waiting.get(path)?.resolve(value);
  };

  /** Where a file of the run is. A changed run has another digest: nobody serves what was there before. */
  atlas.address = (path) =>
    `./${path.split("/").map(encodeURIComponent).join("/")}?${atlas.run?.digest ?? ""}`;

  /** The value of a data file, loaded anew unless it is on its way; what is kept is for the caller to say. */
  atlas.load = (path) => {
    if (waiting.has(path)) return waiting.get(path).promise;
    const request = {};
    request.promise = new Promise((resolve, reject) => Object.assign(request, { resolve, reject }));
    waiting.set(path, request);
    const script = document.createElement("script");
    script.dataset.path = path;
    script.src = atlas.address(path);
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

  const kept = new Map();

  /** The same, and kept from then on; a file that is not there is asked for once. */
  atlas.keep = (path, read = (value) => value) => {
    if (!kept.has(path)) kept.set(path, atlas.load(path).then(read));
    return kept.get(path);
  };

  const TYPES = { Uint8Array, Int8Array, Uint16Array, Int16Array, Uint32Array, Int32Array };

  function bytesOf(base64) {
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  }

  /** A packed array ({type, data}: deflated, base64) -> typed array. */
  atlas.unpack = async ({ type, data }) => {
    const stream = new Blob([bytesOf(data)]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new TYPES[type + "Array"](await new Response(stream).arrayBuffer());
  };

  /** Every packed array of an object unpacked, the rest as it is. */
  atlas.unpackAll = async (value) => {
    const entries = Object.entries(value).map(async ([name, one]) => [
      name,
      one && typeof one === "object" && "data" in one ? await atlas.unpack(one) : one,
    ]);
    return Object.fromEntries(await Promise.all(entries));
  };

  /** A picture in base64 -> bitmap, decoded aside. A file would leave a canvas that may not be saved. */
  atlas.image = (base64) => createImageBitmap(new Blob([bytesOf(base64)], { type: "image/webp" }));

  /** Where a view's files are. */
  atlas.folder = (layer, view) => `${layer}/${view}`;
}
