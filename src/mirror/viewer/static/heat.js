// Numbers of tiles as colours: two-sided where there are both signs, viridis where not; told apart by every kind of
// colour vision, in grey by strength.

const UP = [213, 94, 0];
const DOWN = [0, 114, 178];
const RISING = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const STEPS = 64;

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
  const colours = Array.from({ length: STEPS }, (_, place) => (signed ? twoSided : rising)(place / (STEPS - 1)));
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

function twoSided(share) {
  const side = 2 * share - 1;
  const strong = 0.08 + 0.92 * Math.abs(side);
  return `rgba(${(side < 0 ? DOWN : UP).join(",")},${strong.toFixed(3)})`;
}

function rising(share) {
  const place = share * (RISING.length - 1);
  const from = Math.min(RISING.length - 2, Math.floor(place));
  const mixed = RISING[from].map((one, at) => Math.round(one + (RISING[from + 1][at] - one) * (place - from)));
  return `rgb(${mixed.join(",")})`;
}
