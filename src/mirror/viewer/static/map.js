// The embedding map: points on a canvas, coloured as the reader picks, opened by mouse or keyboard.

import { ask } from "./ask.js";
import { byId, fill, make, say } from "./dom.js";
import { change, state } from "./state.js";

const EDGE = 18;
const REACH = 12;
const SIZE = { test: 4.6, train: 3.6, neither: 3.6 };
const INK = "#202124";
const GENE = "gene:";

/** `missing` says what a link names that is not here. */
export function startMap(missing) {
  const canvas = byId("map-canvas");
  const tip = byId("map-tip");
  const views = byId("map-view");
  const colours = byId("map-colour");
  const runs = byId("map-run");
  const gene = byId("map-gene");
  const genes = byId("map-genes");
  const byGene = new Map(); // colourings that were asked for
  let data = null; // what the server said of this map
  let colouring = null;
  let points = []; // {patient, slide, modality, role, x, y in 0..1, kind: place in the legend}
  let zoom = { scale: 1, x: 0, y: 0 };
  let cursor = -1; // the point that the keyboard or the mouse is at
  let asked = "";
  let linked = false; // the colour is a link's word

  async function load() {
    const key = `${state.run} ${state.map}`;
    asked = key;
    try {
      const answer = await ask("/data/map", { run: state.run, view: state.map });
      if (asked !== key) return; // another map was chosen meanwhile
      data = answer;
    } catch (error) {
      byId("map-help").textContent = `The map cannot be shown: ${error.message}`;
      return;
    }
    const { patient, slide, modality, role, x, y } = data.points;
    const [left, right, low, high] = [Math.min(...x), Math.max(...x), Math.min(...y), Math.max(...y)];
    points = patient.map((name, at) => ({
      patient: name, slide: slide[at], modality: modality[at], role: role[at],
      x: right > left ? (x[at] - left) / (right - left) : 0.5,
      y: high > low ? 1 - (y[at] - low) / (high - low) : 0.5,
    }));
    points.sort((one, other) => (one.role === "test") - (other.role === "test")); // test patients on top
    zoom = { scale: 1, x: 0, y: 0 };
    cursor = -1;
    paintBy();
  }

  async function chosen() {
    const key = state.colour;
    const found = data.colourings.find((one) => one.key === key) ?? byGene.get(key);
    if (found || !key.startsWith(GENE)) return found ?? data.colourings[0];
    try {
      const name = key.slice(GENE.length);
      const { genes: there } = await ask("/data/genes", { like: name });
      if (!there.includes(name)) return data.colourings[0];
      byGene.set(key, await ask("/data/gene", { name }));
      return byGene.get(key);
    } catch (error) {
      if (state.colour === key) refuse(error.message);
      return data.colourings[0];
    }
  }

  function refuse(reason) {
    gene.setCustomValidity(reason);
    gene.reportValidity();
    say(reason);
  }

  async function paintBy() {
    if (!data) return;
    const [key, own] = [state.colour, data];
    const found = await chosen();
    if (state.colour !== key || data !== own) return; // another choice was made meanwhile
    colouring = found;
    const choices = found.key.startsWith(GENE) ? [...data.colourings, found] : data.colourings;
    fill(colours, choices.map((one) => make("option", { value: one.key }, titleOf(one).split(",")[0])));
    colours.value = colouring.key;
    if (gene.validity.valid) gene.value = found.key.startsWith(GENE) ? found.key.slice(GENE.length) : "";
    const ofLink = linked;
    linked = false;
    if (state.colour !== colouring.key) change({ colour: colouring.key });
    if (ofLink && key !== colouring.key) {
      const what = key.startsWith(GENE) ? `no expression of a gene ${key.slice(GENE.length)}` : `no colours by ${key}`;
      missing("colour", what, `The map is coloured by ${titleOf(colouring)}.`);
    }
    const counts = colouring.legend.map(() => 0);
    for (const point of points) {
      point.kind = colouring.classes[point.patient] ?? colouring.legend.length - 1;
      counts[point.kind] += 1;
    }
    fill(byId("map-legend"), colouring.legend.map((one, place) => {
      const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
      swatch.style.background = one.colour;
      return make("li", {}, swatch, one.name, make("small", {}, ` ${counts[place]}`));
    }));
    canvas.setAttribute("aria-label",
      `Map of ${points.length} points by ${titleOf(colouring)}: `
      + colouring.legend.map((one, place) => `${counts[place]} ${one.name}`).join(", "));
    draw();
  }

  const place = (point) => {
    const wide = canvas.clientWidth - 2 * EDGE;
    const high = canvas.clientHeight - 2 * EDGE;
    return [EDGE + (point.x * zoom.scale + zoom.x) * wide, EDGE + (point.y * zoom.scale + zoom.y) * high];
  };

  function draw() {
    const [wide, high] = [canvas.clientWidth, canvas.clientHeight];
    const dense = devicePixelRatio || 1;
    canvas.width = Math.round(wide * dense);
    canvas.height = Math.round(high * dense);
    const pen = canvas.getContext("2d");
    pen.scale(dense, dense);
    if (!colouring) return;
    for (const point of points) {
      const [x, y] = place(point);
      if (x < -9 || y < -9 || x > wide + 9 || y > high + 9) continue;
      pen.globalAlpha = point.role === "test" ? 0.92 : 0.32;
      pen.fillStyle = colouring.legend[point.kind].colour;
      shape(pen, point, x, y, SIZE[point.role] ?? 3.6);
      pen.fill();
    }
    pen.globalAlpha = 1;
    const own = points.filter((point) => point.patient === state.patient);
    if (own.length > 1) {
      pen.strokeStyle = INK;
      pen.lineWidth = 1;
      pen.setLineDash([3, 3]);
      pen.beginPath();
      own.forEach((point, at) => pen[at ? "lineTo" : "moveTo"](...place(point)));
      pen.stroke();
      pen.setLineDash([]);
    }
    for (const point of own) {
      const [x, y] = place(point);
      pen.fillStyle = colouring.legend[point.kind].colour;
      pen.strokeStyle = INK;
      pen.lineWidth = point.slide && point.slide === state.slide ? 2.6 : 1.6;
      shape(pen, point, x, y, 7);
      pen.fill();
      pen.stroke();
    }
    if (points[cursor]) {
      const [x, y] = place(points[cursor]);
      pen.strokeStyle = INK;
      pen.lineWidth = 1.6;
      pen.beginPath();
      pen.arc(x, y, 11, 0, 2 * Math.PI);
      pen.stroke();
    }
  }

  function shape(pen, point, x, y, size) {
    pen.beginPath();
    if (point.modality === "slide") pen.arc(x, y, size, 0, 2 * Math.PI);
    else if (point.modality === "expression") pen.rect(x - size * 0.88, y - size * 0.88, size * 1.76, size * 1.76);
    else {
      pen.moveTo(x, y - size * 1.25);
      pen.lineTo(x + size * 1.25, y);
      pen.lineTo(x, y + size * 1.25);
      pen.lineTo(x - size * 1.25, y);
      pen.closePath();
    }
  }

  const titleOf = ({ key, title }) => (key.startsWith(GENE) ? title : title.toLowerCase());

  const told = (point) => [
    point.slide ?? point.patient, point.modality, `${point.role} patient`,
    `${titleOf(colouring)}: ${colouring.legend[point.kind].name}`,
  ].join(", ");

  function under(event) {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let best = -1;
    let least = REACH;
    points.forEach((point, at) => {
      const [px, py] = place(point);
      const far = Math.hypot(px - x, py - y);
      if (far <= least) [best, least] = [at, far];
    });
    return best;
  }

  function open(at) {
    const point = points[at];
    if (!point) return;
    const changes = { patient: point.patient, tile: null, x: null, y: null, z: null };
    // A point of expression has no slide of its own: a slide of the patient that is open stays open.
    if (point.slide) changes.slide = point.slide;
    else if (point.patient !== state.patient) changes.slide = "";
    change(changes, { step: true });
  }

  function showTip() {
    const point = points[cursor];
    tip.hidden = !point;
    if (!point) return;
    tip.textContent = told(point);
    const [x, y] = place(point);
    tip.style.left = `${Math.max(0, Math.min(x + 12, canvas.clientWidth - tip.offsetWidth))}px`;
    tip.style.top = `${y + 14 + tip.offsetHeight > canvas.clientHeight ? y - 14 - tip.offsetHeight : y + 14}px`;
  }

  function walk(dx, dy) {
    const from = points[cursor] ?? points.find((point) => point.patient === state.patient) ?? points[0];
    if (!from) return;
    const [x, y] = place(from);
    let best = -1;
    let least = Infinity;
    points.forEach((point, at) => {
      const [px, py] = place(point);
      const ahead = (px - x) * dx + (py - y) * dy;
      const aside = Math.abs((px - x) * dy) + Math.abs((py - y) * dx);
      if (ahead > 0.5 && aside <= 1.5 * ahead && ahead + 2 * aside < least) [best, least] = [at, ahead + 2 * aside];
    });
    if (best < 0) {
      say("No point further on in this direction.");
      return;
    }
    cursor = best;
    say(told(points[cursor]));
    showTip();
    draw();
  }

  function zoomBy(factor, x = 0.5, y = 0.5) {
    const scale = Math.min(40, Math.max(1, zoom.scale * factor));
    const by = scale / zoom.scale;
    zoom = { scale, x: x - (x - zoom.x) * by, y: y - (y - zoom.y) * by };
    keepInSight();
    draw();
  }

  function keepInSight() {
    zoom.x = Math.min(0, Math.max(1 - zoom.scale, zoom.x));
    zoom.y = Math.min(0, Math.max(1 - zoom.scale, zoom.y));
  }

  let drag = null;
  canvas.addEventListener("pointerdown", (event) => {
    drag = { x: event.clientX, y: event.clientY, from: { ...zoom }, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (drag) {
      const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
      drag.moved ||= Math.hypot(dx, dy) > 4;
      if (drag.moved && zoom.scale > 1) {
        zoom.x = drag.from.x + dx / (canvas.clientWidth - 2 * EDGE);
        zoom.y = drag.from.y + dy / (canvas.clientHeight - 2 * EDGE);
        keepInSight();
        draw();
      }
      return;
    }
    const at = under(event);
    if (at === cursor) return;
    cursor = at;
    canvas.classList.toggle("on-point", at >= 0);
    showTip();
    draw();
  });
  canvas.addEventListener("pointerup", (event) => {
    if (drag && !drag.moved) open(under(event));
    drag = null;
  });
  canvas.addEventListener("pointercancel", () => { drag = null; });
  canvas.addEventListener("pointerleave", () => { cursor = -1; showTip(); draw(); });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const box = canvas.getBoundingClientRect();
    zoomBy(Math.exp(-event.deltaY / 400), (event.clientX - box.left - EDGE) / (box.width - 2 * EDGE),
      (event.clientY - box.top - EDGE) / (box.height - 2 * EDGE));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (step) walk(...step);
    else if (event.key === "Enter" || event.key === " ") open(cursor);
    else if (event.key === "+" || event.key === "=") zoomBy(1.5);
    else if (event.key === "-") zoomBy(1 / 1.5);
    else if (event.key === "0") zoomBy(1e-9);
    else return;
    event.preventDefault();
  });
  views.addEventListener("change", () => change({ map: views.value }, { step: true }));
  colours.addEventListener("change", () => change({ colour: colours.value }, { step: true }));
  gene.addEventListener("input", async () => {
    gene.setCustomValidity("");
    const like = gene.value.trim();
    const found = like ? (await ask("/data/genes", { like })).genes : [];
    if (gene.value.trim() === like) fill(genes, found.map((name) => make("option", { value: name })));
  });
  gene.addEventListener("change", async () => {
    const like = gene.value.trim();
    if (!like) return;
    const { genes: found } = await ask("/data/genes", { like });
    const name = found.find((one) => one.toLowerCase() === like.toLowerCase());
    if (name) change({ colour: `${GENE}${name}` }, { step: true });
    else refuse(`No profile has a gene "${like}".`);
  });
  runs.addEventListener("change", () => change({ run: runs.value }, { step: true }));
  new ResizeObserver(draw).observe(canvas);

  return (changed, fromLink) => {
    if (changed.has("colour")) linked = fromLink;
    if (changed.has("run") || changed.has("map")) {
      views.value = state.map;
      runs.value = state.run;
      load();
    } else if (changed.has("colour")) {
      paintBy();
    } else if (changed.has("patient") || changed.has("slide")) {
      draw();
    }
  };
}
