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
