// Places for the names of regions: near their region, on white where there is white, without overlaps. The costs
// are those of label_places.py, which places the names of figures.

const COVER_COST = 40; // of covering icons altogether, in heights of a line
const LONG_LEADER = 3; // length from which a leader line is costly
const FARTHEST = 7; // largest distance of a name from its region's middle
const SHORT_LEADER_PX = 48; // a leader may be this long, or as long as its region is wide
const WIDEST_COVER = 1.8; // width of icons that a name may hide, in sides of its region
const DIRECTIONS = 16;
const RINGS = [0, 1, 1.5, 2, 2.5, 3, 4, 5, 6, FARTHEST];
const LABEL_PX = 16; // height of a line in CSS pixels

/** Sums of occupied cells above and left of each corner of a grid's cells, (size + 1) x (size + 1). */
export const occupied = (grid) => {
  if (grid.occupied) return grid.occupied;
  const side = grid.size + 1,
    sums = new Int32Array(side * side);
  for (let row = 0; row < grid.size; row++) {
    let across = 0;
    for (let col = 0; col < grid.size; col++) {
      if (grid.at[row * grid.size + col] >= 0) across++;
      sums[(row + 1) * side + col + 1] = sums[row * side + col + 1] + across;
    }
  }
  return (grid.occupied = sums);
};

/** The number of occupied cells above and left of a point, in cells; a cell that is cut counts in part. */
function before(sums, size, x, y) {
  const side = size + 1,
    [col, row] = [Math.min(size - 1, Math.floor(x)), Math.min(size - 1, Math.floor(y))],
    [across, down] = [x - col, y - row];
  const corner = (r, c) => sums[(row + r) * side + col + c];
  const upper = corner(0, 0) * (1 - across) + corner(0, 1) * across,
    lower = corner(1, 0) * (1 - across) + corner(1, 1) * across;
  return upper * (1 - down) + lower * down;
}

/** The share of a box's area, in units of the map, that lies on cells with icons. */
export const coverage = (grid, { left, top, right, bottom }) => {
  const { size } = grid,
    sums = occupied(grid),
    // A box may lie partly outside the map, where there are no icons.
    within = (at) => Math.min(size, Math.max(0, at * size));
  const [l, t, r, b] = [left, top, right, bottom].map(within),
    upTo = (x, y) => before(sums, size, x, y);
  const covered = upTo(r, b) - upTo(l, b) - upTo(r, t) + upTo(l, t);
  return covered / ((right - left) * size * (bottom - top) * size);
};

function boxAt(x, y, [width, height], scale) {
  const [w, h] = [width / scale / 2, height / scale / 2];
  return { left: x - w, right: x + w, top: y - h, bottom: y + h };
}

function candidates({ x, y, size }, grid, scale, isWide) {
  const line = LABEL_PX / scale,
    around = boxAt(x, y, [size[0] + 2 * FARTHEST * LABEL_PX, (2 * FARTHEST + 1) * LABEL_PX], scale);
  // Where icons lie all around, no place is better than the middle.
  if (coverage(grid, around) > 0.999) return [{ at: [x, y], box: boxAt(x, y, size, scale), step: 0 }];
  // The longer side of the window has room beside the map.
  const [beside, above] = isWide ? [0.14, 0] : [0, 0.14],
    found = [];
  for (const step of RINGS) {
    for (let turn = 0; turn < (step ? DIRECTIONS : 1); turn++) {
      const angle = (2 * Math.PI * turn) / DIRECTIONS;
      // The ring of candidates is as wide as the words, so that a step moves a name off what it covers.
      const stretch = step ? (size[0] / scale - line) / 2 : 0;
      const cos = Math.cos(angle);
      const at = [x + step * line * cos + stretch * cos, y + step * line * Math.sin(angle)],
        box = boxAt(...at, size, scale);
      const isInside =
        box.left >= -beside && box.right <= 1 + beside && box.top >= -above && box.bottom <= 1 + above;
      if (isInside) found.push({ at, box, step });
    }
  }
  return found;
}

const overlaps = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

const BUCKET_PX = 160;

/** Boxes that are taken, in buckets of the map, so that thousands of names are compared with few others. */
function takenBoxes(scale) {
  const buckets = new Map(),
    side = BUCKET_PX / scale;
  const bucketsOf = ({ left, top, right, bottom }) => {
    const names = [];
    for (let row = Math.floor(top / side); row <= Math.floor(bottom / side); row++)
      for (let col = Math.floor(left / side); col <= Math.floor(right / side); col++) names.push(`${row},${col}`);
    return names;
  };
  return {
    isFree: (box) =>
      bucketsOf(box).every((name) => !(buckets.get(name) ?? []).some((other) => overlaps(box, other))),
    take: (box) => {
      for (const name of bucketsOf(box)) buckets.set(name, [...(buckets.get(name) ?? []), box]);
    },
  };
}

/**
 * Places for names, the most important first; one without a free place is left out. names: [{x, y, side, lines,
 * size}], size in CSS pixels. scale: CSS pixels of the map's side. isWide: the window is wider than high.
 * Returns [{...name, x, y: middle of its box, anchor: [x, y] of its region}].
 */
export const placeNames = (names, grid, scale, isWide) => {
  const taken = takenBoxes(scale),
    placed = [];
  for (const name of names) {
    let best = null,
      least = Infinity;
    const side = name.side * scale; // of the region on the screen
    for (const { at, box, step } of candidates(name, grid, scale, isWide)) {
      // On a small screen words are larger than regions: names that would hide others, or lie far off, are left out.
      if (step * LABEL_PX > Math.max(SHORT_LEADER_PX, side) || !taken.isFree(box)) continue;
      const covered = coverage(grid, box);
      if (covered * name.size[0] > WIDEST_COVER * side) continue;
      const cost = step + (step / LONG_LEADER) ** 2 + COVER_COST * covered;
      if (cost < least - 1e-9) [best, least] = [{ at, box }, cost];
    }
    if (!best) continue;
    taken.take(best.box);
    placed.push({ ...name, x: best.at[0], y: best.at[1], anchor: [name.x, name.y] });
  }
  return placed;
};
