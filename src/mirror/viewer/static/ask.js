// Questions to this page's own server.

export function address(path, query = {}) {
  const told = new URLSearchParams(query).toString();
  return told ? `${path}?${told}` : path;
}

export async function ask(path, query = {}, options = {}) {
  const answer = await fetch(address(path, query), options);
  if (!answer.ok) throw new Error(await reasonOf(answer));
  return answer.json();
}

let last = { name: null, told: null };

/** What there is of a slide; the parts that need it ask once between them, and anew when it is opened again. */
export function askSlide(name) {
  if (last.name !== name) last = { name, told: ask("/data/slide", { slide: name }) };
  return last.told;
}

/** True where a slide has a tile of that number. */
export const isTile = ({ tiles }, tile) => Number.isInteger(tile) && tile >= 0 && tile < tiles;

/** Calls `each` with every line of an answer that comes line by line. */
export async function askLines(path, query, each, options = {}) {
  const answer = await fetch(address(path, query), options);
  if (!answer.ok) throw new Error(await reasonOf(answer));
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    const lines = (rest + (value ?? "")).split("\n");
    rest = lines.pop();
    lines.filter(Boolean).forEach((line) => each(JSON.parse(line)));
    if (done) return;
  }
}

async function reasonOf(answer) {
  try {
    return (await answer.json()).error;
  } catch {
    return `the server answered ${answer.status}`;
  }
}
