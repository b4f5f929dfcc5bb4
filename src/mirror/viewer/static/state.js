// What is looked at, kept in the address after '#', so that a link shows the same to whoever opens it.

const FIRST = {
  run: "", map: "both", colour: "label", patient: "", slide: "", layer: "", opacity: 65, cut: 0,
  x: null, y: null, z: null, tile: null, others: 1,
};
const NUMBERS = new Set(["opacity", "cut", "x", "y", "z", "tile", "others"]);
const LIMITS = { opacity: [0, 100], cut: [0, 99], others: [0, 1] };
const listeners = [];

export const state = { ...FIRST };

/** Calls `listener(changed, linked)` with the set of names that changed, after every change; `linked` where an address said so. */
export function whenChanged(listener) {
  listeners.push(listener);
}

/** Takes over `changes`; `step` makes it a step that the browser's Back undoes. */
export function change(changes, { step = false } = {}) {
  const changed = take(changes);
  if (!changed.size) return;
  const address = `#${written()}`;
  if (step) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
  listeners.forEach((listener) => listener(changed, false));
}

/** Reads the address; what it does not say is as at first. */
export function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const changes = { ...FIRST };
  for (const name of Object.keys(FIRST)) {
    if (!given.has(name)) continue;
    const text = given.get(name);
    if (!NUMBERS.has(name)) changes[name] = text;
    else if (text !== "" && Number.isFinite(Number(text))) changes[name] = within(name, Number(text));
  }
  return changes;
}

addEventListener("popstate", () => {
  const changed = take(readAddress());
  if (changed.size) listeners.forEach((listener) => listener(changed, true));
});

function within(name, value) {
  const [low, high] = LIMITS[name] ?? [-Infinity, Infinity];
  return Math.min(high, Math.max(low, value));
}

function take(changes) {
  const changed = new Set();
  for (const [name, value] of Object.entries(changes)) {
    if (state[name] === value) continue;
    state[name] = value;
    changed.add(name);
  }
  return changed;
}

function written() {
  const told = new URLSearchParams();
  for (const [name, value] of Object.entries(state)) {
    if (value !== null && value !== "" && value !== FIRST[name]) told.set(name, value);
  }
  return told.toString();
}
