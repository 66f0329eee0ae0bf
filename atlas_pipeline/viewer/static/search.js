"use strict";
// Images by number, by name and by label: where does their activation lie?
{
  const { byId } = atlas;

  const keys = () => atlas.keep("keys/keys.js", atlas.unpackAll);

  const labelOf = (all, slot) =>
    all.labelNames[all.label[slot]] ?? (all.label[slot] >= 0 ? `label ${all.label[slot]}` : "");

  function labels(all) {
    const counts = new Map();
    for (const label of all.label) if (label >= 0) counts.set(label, (counts.get(label) ?? 0) + 1);
    return [...counts]
      .sort((a, b) => a[0] - b[0])
      .map(([label, count]) => ({
        words: all.labelNames[label] ?? `label ${label}`,
        beside: `label, ${atlas.number(count)} images`,
        value: `label:${label}`,
      }));
  }

  const imageOption = (all, slot) => ({
    words: all.key[slot],
    beside: [`image ${all.imageId[slot]}`, labelOf(all, slot)].filter(Boolean).join(", "),
    value: `image:${all.imageId[slot]}`,
  });

  async function find(text) {
    if (!atlas.run.keys) return [];
    const all = await keys(),
      found = atlas.matching(labels(all), text);
    if (!text) return found;
    const number = text.replace(/^(image\s*|#)/i, ""),
      exact = /^\d+$/.test(number) ? all.imageId.indexOf(Number(number)) : -1;
    if (exact >= 0) found.unshift(imageOption(all, exact));
    else if (/^\d+$/.test(number) && Number(number) < atlas.run.images) {
      found.push({
        words: `Image ${number} is not among the ${atlas.number(all.imageId.length)} that can be found`,
      });
    }
    const wanted = text.toLowerCase();
    for (let slot = 0; slot < all.key.length; slot++) {
      if (slot !== exact && all.key[slot].toLowerCase().includes(wanted)) found.push(imageOption(all, slot));
    }
    return found;
  }

  /** "image:12" or "label:3" -> {mask over known images, words}; null: not of this run. */
  atlas.searched = async (found) => {
    const [kind, number] = found.split(":"),
      mask = new Uint8Array(20000);
    if (!atlas.run.keys || !/^\d+$/.test(number ?? "")) return null;
    const all = await keys();
    if (kind === "image") {
      const slot = all.imageId.indexOf(Number(number));
      if (slot < 0) return null;
      mask[slot] = 1;
      return { mask, words: `Image ${number}: ${all.key[slot]}` };
    }
    if (kind !== "label") return null;
    let count = 0;
    all.label.forEach((label, slot) => {
      if (label === Number(number)) count += mask[slot] = 1;
    });
    return count
      ? { mask, words: `${atlas.number(count)} images of label ${all.labelNames[number] ?? number}` }
      : null;
  };

  /** Light an image up and go to its activation. */
  async function findImage(image) {
    if (!atlas.run.keys) return void atlas.notice("This run has no list of images to find.");
    const all = await keys(),
      slot = all.imageId.indexOf(image);
    if (slot < 0)
      return void atlas.notice(
        `Image ${image} is not among the ${atlas.number(all.imageId.length)} that can be found.`,
      );
    atlas.set({ found: `image:${image}` });
    const { layer, view, z } = atlas.state,
      places = await atlas.places(layer, view),
      at = places.slot.indexOf(slot);
    if (at < 0) return void atlas.notice(`Image ${image} is not in this view.`);
    atlas.flyTo({ x: places.x[at], y: places.y[at], z: Math.max(z, Math.min(4, atlas.largestZoom())) });
  }
  atlas.findImage = (image) => findImage(image).catch((error) => atlas.warn(error.message));

  atlas.startSearch = () => {
    atlas.choice({
      input: byId("find"),
      list: byId("find-list"),
      find: (text) => find(text).catch((error) => (atlas.warn(error.message), [])),
      choose: (found) => {
        const [kind, number] = found.split(":");
        byId("find").blur();
        if (kind === "image") atlas.findImage(Number(number));
        else atlas.set({ found });
      },
    });
  };
}
