// Attributions of a picture: to a class or to the difference of two, and their sums by cell, region and channel.

/** The columns of the chosen classes in a layer's numbers: {at, minus}, minus null for a class alone. */
export const columnsOf = (values, place) => {
  const find = (index) => values.classes.findIndex((one) => one.index === index);
  const at = Math.max(0, find(place.class)),
    minus = place.minus === null ? -1 : find(place.minus);
  return { at, minus: minus < 0 || minus === at ? null : minus };
};

/** A column less another: attribution is linear in the logit. */
export const difference = (columns, { at, minus }) =>
  minus === null ? columns[at] : columns[at].map((value, n) => value - columns[minus][n]);

/** The sums of values by key, from the largest magnitude: [{key, sum, count}]; keys below 0 are left out. */
export const sumsBy = (values, keys) => {
  const sums = new Map();
  values.forEach((value, n) => {
    if (keys[n] < 0) return;
    const one = sums.get(keys[n]) ?? { key: keys[n], sum: 0, count: 0 };
    one.sum += value;
    one.count += 1;
    sums.set(keys[n], one);
  });
  return [...sums.values()].sort((a, b) => Math.abs(b.sum) - Math.abs(a.sum) || a.key - b.key);
};

/** The numbers of the largest values (sign 1) or the least (sign -1), without those of the other sign. */
export const strongest = (values, num, sign) =>
  values
    .map((value, n) => [n, value])
    .filter(([, value]) => sign * value > 0)
    .sort((a, b) => sign * (b[1] - a[1]) || a[0] - b[0])
    .slice(0, num);
