// Numbers of tiles as colours, those of the overlay that `mirror explain slide` draws: ColorBrewer's RdBu where there are
// both signs, red for more, viridis where not; told apart by every kind of colour vision.

const TWO_SIDED = [
  [5, 48, 97], [33, 102, 172], [67, 147, 195], [146, 197, 222], [209, 229, 240], [247, 247, 247],
  [253, 219, 199], [244, 165, 130], [214, 96, 77], [178, 24, 43], [103, 0, 31],
];
const RISING = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const STEPS = 65; // odd: one of them is the middle

/**
 * Colours for `values` (null where a tile has none): `colours` an array of CSS colours, `step` the place of each tile
 * in it (-1 without a value), `rank` how many percent of the tiles are weaker. `told` says whether there are two signs.
 */
export function heat(values, told) {
  const signed = told ?? values.some((value) => value !== null && value < 0);
  const strength = values.map((value) => (value === null ? null : signed ? Math.abs(value) : value));
  const sorted = strength.filter((value) => value !== null).sort((one, other) => one - other);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  const high = at(0.99) || sorted.at(-1) || 1;
  const low = signed ? -high : at(0.01) < high ? at(0.01) : Math.min(0, at(0.01));
  const span = high - low || 1;
  const step = values.map((value) => (value === null ? -1
    : Math.round(Math.min(1, Math.max(0, (value - low) / span)) * (STEPS - 1))));
  const rank = strength.map((value) => (value === null ? -1 : (100 * below(sorted, value)) / sorted.length));
  const colours = Array.from({ length: STEPS }, (_, place) => between(signed ? TWO_SIDED : RISING, place / (STEPS - 1)));
  return { signed, low, high, step, rank, colours };
}

function below(sorted, value) {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

function between(anchors, share) {
  const place = share * (anchors.length - 1);
  const from = Math.min(anchors.length - 2, Math.floor(place));
  const mixed = anchors[from].map((one, at) => Math.round(one + (anchors[from + 1][at] - one) * (place - from)));
  return `rgb(${mixed.join(",")})`;
}
