// Elements with less writing. Text is always text, never markup.

export const byId = (id) => document.getElementById(id);

export function make(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

export function draw(name, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

export function fill(element, children) {
  element.replaceChildren(...children);
}

/** Says something to those who listen to the page instead of looking at it. */
export function say(text) {
  const said = byId("said");
  said.textContent = said.textContent === text ? `${text} ` : text;
}

/** A number as people read it: few digits, a true minus. */
export function shown(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  if (Math.abs(value) < 1e-7) value = 0; // what rounding leaves of nothing
  const size = Math.abs(value);
  const text = size !== 0 && (size < 0.001 || size >= 1e5) ? value.toExponential(1) : value.toFixed(size >= 100 ? 0 : digits);
  return text.replace("-", "−");
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}
