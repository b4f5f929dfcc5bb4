// The slide: deep zoom by OpenSeadragon, the tiles' layer on a canvas above it, the scale, and the tile that is picked.

import { address, ask, askSlide, isTile } from "./ask.js";
import { byId, fill, make, say, shown } from "./dom.js";
import { heat } from "./heat.js";
import { change, state } from "./state.js";

const SIMILAR = "similar";
const LISTED = 6;
const NICE = [1, 2, 5];
const SEEN = {
  test: "has not seen this patient", train: "was trained on this patient", neither: "has not seen this patient",
};

/** The run and the name in the key of a layer. */
function partsOf(key) {
  const [run, ...name] = key.split(":");
  return { run, name: name.join(":") };
}

// OpenSeadragon adds rules of style that take the focus' outline away on touch screens, unless they are there already;
// this page wants the outline, and its server forbids styles that come with a script (but for empty ones).
if (!document.querySelector("style[data-openseadragon-mobile-css]")) {
  document.head.append(make("style", { "data-openseadragon-mobile-css": true }));
}

/** `missing` says what a link names that is not here. */
export function startSlide(missing) {
  const canvas = make("canvas", { class: "heat", "aria-hidden": "true" });
  const viewer = OpenSeadragon({
    element: byId("zoom"),
    drawer: "canvas",
    showNavigationControl: false,
    showNavigator: true,
    navigatorPosition: "BOTTOM_RIGHT",
    navigatorSizeRatio: 0.16,
    navigatorAutoFade: false,
    navigatorBackground: "#FFFFFF",
    navigatorBorderColor: "#9AA0A6",
    navigatorDisplayRegionColor: "#D55E00",
    navigatorOpacity: 0.95,
    animationTime: 0.35,
    maxZoomPixelRatio: 4,
    minZoomImageRatio: 0.7,
    visibilityRatio: 0.4,
    preserveImageSizeOnResize: true, // or a scroll bar that comes late changes what a link says of the zoom
    imageLoaderLimit: 8,
    gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
    gestureSettingsTouch: { clickToZoom: false, dblClickToZoom: true },
    gestureSettingsPen: { clickToZoom: false, dblClickToZoom: true },
  });
  viewer.canvas.append(canvas);
  viewer.canvas.setAttribute("role", "application");
  viewer.canvas.setAttribute("aria-label", "Slide. Arrows move, plus and minus zoom, 0 shows all, Enter picks the tile in the middle.");
  viewer.navigator?.element.setAttribute("aria-hidden", "true");
  viewer.navigator?.element.removeAttribute("tabindex");
  viewer.navigator?.canvas?.setAttribute("tabindex", "-1");
  // R and F would turn and mirror the slide, but not the layer above it.
  viewer.addHandler("canvas-key", (event) => {
    if (["KeyR", "KeyF"].includes(event.originalEvent.code)) event.preventDefaultAction = true;
  });

  let slide = null; // what the server said of it
  let layer = null; // {key, facts, ...heat}
  let order = []; // tiles with a value, by colour
  let wanted = "";
  let lacking = ""; // the layer that a link named and that is not here

  async function open(linked) {
    const name = state.slide;
    wanted = name;
    lacking = "";
    slide = null;
    layer = null;
    order = [];
    viewer.close();
    draw();
    byId("slide-title").textContent = name || "No slide";
    byId("slide-about").textContent = "";
    note(name ? "Opening …" : "This patient has no slide.");
    showStage(Boolean(name));
    sayDamaged();
    byId("layer-controls").hidden = !name;
    byId("near").hidden = !name;
    showLayerFacts();
    if (!name) return;
    try {
      const answer = await askSlide(name);
      if (wanted !== name) return;
      slide = answer;
    } catch (error) {
      if (wanted === name) note(`This slide cannot be shown: ${error.message}`);
      return;
    }
    const source = sourceOf(slide);
    showStage(Boolean(source));
    byId("slide-about").textContent = aboutOf(slide);
    if (!source) note(`There is nothing to draw: ${slide.unplaced}, and there is no slide file. Map, genes and survival do not need them.`);
    else note(slide.x ? "" : `The slide alone is shown: ${slide.unplaced}, so no layer can be drawn and no tile be picked.`);
    byId("layer-controls").hidden = !slide.x;
    settle(linked);
    sayDamaged();
    if (source) viewer.open(source);
    loadLayer();
    say(`${name} is open. ${aboutOf(slide)}`);
  }

  function sourceOf({ slide: name, picture, x, y, side }) {
    if (picture) {
      return {
        width: picture.width, height: picture.height, tileSize: picture.piece, tileOverlap: picture.overlap,
        minLevel: picture.least_level, maxLevel: picture.most_level,
        getTileUrl: (level, column, row) => address("/picture/piece", { slide: name, level, column, row }),
      };
    }
    if (!x) return null;
    return { // an empty canvas as large as the tiles reach
      width: Math.max(...x) + side, height: Math.max(...y) + side, tileSize: 512,
      tileExists: () => false, getTileUrl: () => "",
    };
  }

  function aboutOf({ picture, reason, tiles, x, side, side_from: from, mpp }) {
    return [
      `${tiles.toLocaleString("en")} tiles`,
      x ? `of ${side} px${from === "spacing" ? " (their distance; the file does not say their size)" : ""}` : "without coordinates",
      picture ? `· ${picture.width.toLocaleString("en")} × ${picture.height.toLocaleString("en")} px` : `· ${reason}`,
      mpp ? `· ${shown(mpp, 3)} µm/px` : "",
    ].filter(Boolean).join(" ");
  }

  function listLayers() {
    const options = [make("option", { value: "" }, "none")];
    for (const one of slide.layers) {
      options.push(make("option", { value: one.key }, `${one.name} — ${one.run}, patient ${one.role === "train" ? "in its training" : "unseen"}`));
    }
    options.push(make("option", { value: SIMILAR, disabled: state.tile === null }, "similarity to the picked tile"));
    fill(byId("layer"), options);
  }

  /** The layer `key`; where it is not here, that of another run or slide which has the same name. */
  function layerLike(key) {
    if (!slide.x) return undefined;
    return slide.layers.find((one) => one.key === key) ?? slide.layers.find((one) => one.name === partsOf(key).name);
  }

  /** Takes back the tile and the layer that are not here, and says so where a link named them. */
  function settle(linked) {
    const { tile, layer: key } = state;
    listLayers();
    const noTile = tile !== null && !isTile(slide, tile);
    if (noTile) change({ tile: null });
    const like = layerLike(key);
    const chosen = key === SIMILAR && slide.x ? SIMILAR : like?.key ?? "";
    change({ layer: chosen });
    byId("layer").value = chosen === SIMILAR && state.tile === null ? "" : chosen;
    if (!linked) return;
    if (noTile) missing("tile", `no tile ${tile} of ${slide.slide} (it has 0 to ${slide.tiles - 1})`, "No tile is picked.");
    if (chosen !== key) sayLacking(key, like);
  }

  /** Says that a link's layer `key` is not here, what is shown instead (`like`, or none), and how it can be had. */
  function sayLacking(key, like) {
    const { run, name } = partsOf(key);
    const what = name ? `no layer ${name} of run ${run}` : `no layer ${key}`;
    if (!slide.x) {
      missing("layer", what, `No layer can be drawn here: ${slide.unplaced}.`);
    } else if (like) {
      missing("layer", what, `The layer shown is ${like.name} of run ${like.run}.`);
    } else if (slide.layers.length) {
      missing("layer", what, `No layer is shown; there are ${slide.layers.map((one) => one.name).join(", ")}.`);
    } else if (slide.can_explain) {
      lacking = key;
      missing("layer", what, "No layer is shown. What is computed for one page goes with it; here it can be computed too:", computeButton("notice-explain"));
    } else {
      missing("layer", what, "No layer is shown.");
    }
  }

  async function loadLayer() {
    layer = null;
    order = [];
    draw();
    showLayerFacts();
    const [name, key, tile] = [state.slide, state.layer, state.tile];
    if (!slide?.x || !key || (key === SIMILAR && tile === null)) return;
    try {
      const answer = key === SIMILAR
        ? await ask("/data/similar", { slide: name, tile })
        : await ask("/data/layer", { slide: name, layer: key });
      if (state.slide !== name || state.layer !== key || (key === SIMILAR && state.tile !== tile)) return;
      const about = slide.layers.find((one) => one.key === key);
      layer = { key, values: answer.values, about, ...heat(answer.values, about?.facts.signed) };
    } catch (error) {
      if (state.slide === name && state.layer === key) byId("layer-said").textContent = `This layer cannot be shown: ${error.message}`;
      return;
    }
    order = layer.step.map((_, at) => at).filter((at) => layer.step[at] >= 0)
      .sort((one, other) => layer.step[one] - layer.step[other]);
    draw();
    showLayerFacts();
  }

  const computeButton = (id) => make("button", { type: "button", id, onclick: explain }, "Compute it now");

  async function explain() {
    const name = slide.slide;
    fill(byId("layer-said"), ["Computing what the model looked at, some seconds …"]);
    say("Computing.");
    try {
      const answer = await ask("/data/explain", { slide: name }, { method: "POST" });
      if (slide?.slide !== name) return;
      Object.assign(slide, answer);
    } catch (error) {
      if (slide?.slide !== name) return;
      const [first] = error.message.split("\n");
      fill(byId("layer-said"), [`This cannot be computed: ${first.replace(/:$/, ".")} More is said by `, make("code", {}, slide.command)]);
      say("This cannot be computed.");
      return;
    }
    sayDamaged();
    listLayers();
    const [asked, like] = [lacking, layerLike(lacking)];
    lacking = "";
    change({ layer: (like ?? slide.layers[0])?.key ?? "" }, { step: true });
    if (asked && state.layer !== asked) sayLacking(asked, like ?? slide.layers[0]);
    say(`${slide.layers.length} layers are there.`);
    byId("layer").focus();
  }

  // Screen px of level-0 px: x * scale + left. The slide is never turned, so one scale does for both axes.
  function onScreen() {
    const item = viewer.world.getItemAt(0);
    if (!item) return null;
    const corner = item.imageToViewerElementCoordinates(new OpenSeadragon.Point(0, 0));
    const far = item.imageToViewerElementCoordinates(new OpenSeadragon.Point(1000, 0));
    return { scale: (far.x - corner.x) / 1000, left: corner.x, top: corner.y };
  }

  function draw() {
    const box = byId("zoom");
    const dense = devicePixelRatio || 1;
    const [wide, high] = [box.clientWidth, box.clientHeight];
    if (canvas.width !== Math.round(wide * dense) || canvas.height !== Math.round(high * dense)) {
      canvas.width = Math.round(wide * dense);
      canvas.height = Math.round(high * dense);
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    pen.clearRect(0, 0, wide, high);
    const to = onScreen();
    drawScale(to);
    if (!to || !slide?.x) return;
    const { x, y, side } = slide;
    const size = side * to.scale;
    const inSight = (at) => {
      const [left, top] = [x[at] * to.scale + to.left, y[at] * to.scale + to.top];
      return left < wide && top < high && left + size > 0 && top + size > 0 ? [left, top] : null;
    };
    pen.globalAlpha = state.opacity / 100;
    if (layer) {
      let step = -1;
      for (const at of order) {
        if (layer.rank[at] < state.cut) continue;
        const place = inSight(at);
        if (!place) continue;
        if (layer.step[at] !== step) {
          step = layer.step[at];
          pen.fillStyle = layer.colours[step];
        }
        pen.fillRect(place[0], place[1], size + 0.3, size + 0.3);
      }
    } else if (!slide.picture) {
      pen.globalAlpha = 1;
      pen.strokeStyle = "#9AA0A6";
      pen.fillStyle = "#F1F3F4";
      for (let at = 0; at < x.length; at += 1) {
        const place = inSight(at);
        if (!place) continue;
        pen.fillRect(place[0], place[1], size, size);
        pen.strokeRect(place[0], place[1], size, size);
      }
    }
    pen.globalAlpha = 1;
    if (state.tile !== null && x[state.tile] !== undefined) {
      const [left, top] = [x[state.tile] * to.scale + to.left, y[state.tile] * to.scale + to.top];
      const width = Math.max(size, 5);
      pen.lineWidth = 4.5;
      pen.strokeStyle = "#FFFFFF";
      pen.strokeRect(left, top, width, width);
      pen.lineWidth = 2.2;
      pen.strokeStyle = "#202124";
      pen.strokeRect(left, top, width, width);
    }
  }

  function drawScale(to) {
    const scale = byId("scale");
    scale.hidden = !to || !slide?.mpp;
    if (scale.hidden) return;
    const room = 130 * (slide.mpp / to.scale); // um that 130 px are wide
    const ten = 10 ** Math.floor(Math.log10(room));
    const um = NICE.map((one) => one * ten).filter((one) => one <= room).at(-1);
    byId("scale-bar").style.width = `${(um / slide.mpp) * to.scale}px`;
    byId("scale-said").textContent = um >= 1000 ? `${um / 1000} mm` : `${um} µm`;
  }

  function showLayerFacts() {
    byId("opacity").value = state.opacity;
    byId("cut").value = state.cut;
    byId("opacity-said").textContent = `${state.opacity} %`;
    byId("cut-said").textContent = state.cut ? `${state.cut} %` : "none";
    for (const name of ["opacity", "cut"]) byId(name).disabled = !layer;
    byId("layer-scale").hidden = !layer;
    byId("layer-tiles").hidden = !layer;
    byId("layer-by").textContent = "";
    byId("layer-warned").hidden = true;
    if (!layer) {
      fill(byId("layer-said"), slide ? layersThere() : []);
      return;
    }
    const facts = layer.about?.facts ?? {};
    const pen = byId("layer-scale").getContext("2d");
    pen.clearRect(0, 0, 200, 12);
    for (let x = 0; x < 200; x += 1) {
      pen.fillStyle = layer.colours[Math.floor((x * layer.colours.length) / 200)];
      pen.fillRect(x, 0, 1, 12);
    }
    const ends = `${shown(layer.low)} to ${shown(layer.high)}`;
    byId("layer-scale").setAttribute("aria-label", `Colours from ${ends}`);
    const [colours, by] = told(ends);
    byId("layer-said").textContent = colours.filter(Boolean).join(" · ");
    byId("layer-by").textContent = by.filter(Boolean).join(" · ");
    showWarnings();
    listTiles();
  }

  /** What is to be known before the layer is believed, as its pictures have it; the whole sentence when pointed at. */
  function showWarnings() {
    if (layer.key === SIMILAR) return;
    const { warnings } = layer.about.facts;
    const earlier = [make("li", {}, "made by an earlier version; ", make("code", {}, "mirror explain slide"), " makes it anew")];
    const items = warnings?.map(({ kind, short, note: whole }) => make("li", { title: whole }, make("strong", {}, kind), ` ${short}`));
    fill(byId("layer-warned"), items ?? earlier);
    byId("layer-warned").hidden = items?.length === 0;
  }

  /** Which explanations cannot be read, and how they can be had again; the other layers are there. */
  function sayDamaged() {
    const damaged = slide?.damaged ?? [];
    byId("damaged").hidden = !damaged.length;
    fill(byId("damaged"), damaged.flatMap(({ file, command }) => [
      "Layers are left out, because ", make("code", {}, file), " cannot be read: it is damaged, or of another version. It is made anew by ",
      make("code", {}, command), ". ",
    ]));
    if (damaged.length && slide.can_explain) byId("damaged").append(computeButton("damaged-explain"));
  }

  /** What can be laid over the slide, or how it can be had. */
  function layersThere() {
    const [first] = slide.layers;
    if (!slide.x) {
      return first
        ? ["What the model looked at on this slide is a table, in the run's folder: ", make("code", {}, `explain/${first.run}/slides/${slide.slide}/relevance.parquet`)]
        : ["What the model looked at on this slide can be had as a table of its tiles: ", make("code", {}, slide.command)];
    }
    const outdated = slide.outdated.length ? `Layers of an earlier training of ${slide.outdated.join(", ")} are not shown. ` : "";
    if (!first && !slide.offered) {
      return [outdated, "No method has passed for models of this kind (docs/explain.md), so none is offered here. What there is, marked as unproven, is shown by ", make("code", {}, slide.command)];
    }
    if (first) return [outdated, `What can be laid over this slide: ${slide.layers.map((one) => one.name).join(", ")}. Choose it above.`];
    if (slide.damaged.length) return [outdated]; // what to do is said where they are named
    return [
      outdated || "What the model looked at on this slide is not computed yet. ",
      slide.can_explain ? computeButton("explain") : "",
      " For all slides, and to keep it: ", make("code", {}, slide.command),
    ];
  }

  /** What the colours of the layer mean; and by which method, of whom, with the slide's own number beside it. */
  function told(ends) {
    if (layer.key === SIMILAR) {
      return [
        [`${ends} cosine with tile ${state.tile}`, layer.signed ? "red: alike; blue: contrary" : ""],
        ["of features less the cohort's mean tile, each by its deviation"],
      ];
    }
    const { name, run, role, facts } = layer.about;
    const unit = facts.unit ?? name;
    const colours = facts.more
      ? `red ${facts.more}, blue ${facts.less}, compared with ${facts.compared}`
      : "red: above zero; blue: below"; // an explanation from before it said more
    return [
      [`${ends} ${unit}`, layer.signed ? colours : ""],
      [
        facts.method ? `method ${facts.method}` : "",
        facts.representation ? `of ${facts.representation}` : "",
        numberOf(facts, unit),
        facts.head ? headOf(facts.head, facts.warnings) : "",
        `run ${run}, which ${SEEN[role]}`,
      ],
    ];
  }

  /** The number that the tiles are of: whose it is, and what of it is the slide's. */
  function numberOf({ value, representation, training_patients: usual, ...facts }, unit) {
    if (value === undefined || value === null) return "";
    const known = (one) => one !== undefined && one !== null;
    const whose = { fused: "number of slide and expression", aligned: "number of the slide with the patient's expression" };
    const parts = known(facts.at_means) && known(facts.from_expression)
      ? `, which is ${rounded(facts.at_means)} at the training patients' means, ${signed(facts.from_slide)} from the slide`
        + ` and ${signed(facts.from_expression)} from the expression` : "";
    return `${whose[representation] ?? "the slide's own number"}: ${rounded(value)} ${unit.split(",")[0]}${parts}`
      + (usual ? ` (training patients ${rounded(usual[0])} to ${rounded(usual[1])})` : "");
  }

  const rounded = (value) => shown(Math.round(value * 100) / 100, 2);

  /** How well the head judges patients it has not seen: heat can be no better. */
  function headOf({ metric, value, low, high, patients }, warnings) {
    const called = metric === "auroc" ? "AUROC" : "c-index";
    const unsure = warnings || low > 0.5 ? "" : ", which chance may give as well";
    return `head: ${called} ${shown(value, 2)} (${shown(low, 2)} to ${shown(high, 2)}) on ${patients} test patients${unsure}`;
  }

  function signed(value) {
    const text = rounded(value);
    return text.startsWith("−") ? text : `+${text}`;
  }

  function listTiles() {
    const sorted = order.slice().sort((one, other) => layer.values[other] - layer.values[one]);
    const row = (title, tiles) => make("div", {}, make("h4", {}, title), make("ul", { class: "tiles" }, ...tiles.map((at) => make(
      "li", {}, make("button", { type: "button", onclick: () => goTo(at) },
        slide.picture && slide.x ? make("img", { src: address("/picture/tile", { slide: slide.slide, tile: at }), alt: "", loading: "lazy", width: 64, height: 64 }) : null,
        `tile ${at}`, make("small", {}, shown(layer.values[at]))),
    ))));
    fill(byId("layer-list"), [row("Highest", sorted.slice(0, LISTED)), row("Lowest", sorted.slice(-LISTED).reverse())]);
  }

  function goTo(at) {
    if (slide?.x) look(slide.x[at] + slide.side / 2, slide.y[at] + slide.side / 2, zoomOfTile());
    pick(at);
  }

  /** Zoom (screen px a level-0 px) at which a tile is a fifth of the window. */
  const zoomOfTile = () => Math.min(2, byId("zoom").clientHeight / (5 * slide.side));

  function look(x, y, z, { at = false } = {}) {
    const item = viewer.world.getItemAt(0);
    if (!item) return;
    const point = item.imageToViewportCoordinates(new OpenSeadragon.Point(x, y));
    if (z) viewer.viewport.zoomTo(item.imageToViewportZoom(z), null, at);
    viewer.viewport.panTo(point, at);
  }

  function pick(at) {
    change({ tile: at }, { step: true });
    say(`Tile ${at} picked.`);
  }

  function pickAt(point) {
    const to = onScreen();
    if (slide && !slide.x) say("No tile of this slide can be picked: nobody knows where they lie.");
    if (!to || !slide?.x) return;
    const [x, y] = [(point.x - to.left) / to.scale, (point.y - to.top) / to.scale];
    let best = -1;
    let least = Infinity;
    slide.x.forEach((left, at) => {
      const top = slide.y[at];
      if (x < left || y < top || x >= left + slide.side || y >= top + slide.side) return;
      const far = Math.hypot(left + slide.side / 2 - x, top + slide.side / 2 - y);
      if (far < least) [best, least] = [at, far];
    });
    if (best >= 0) pick(best);
    else {
      if (state.tile === null) byId("near-said").textContent = "There is no tile here: glass, or tissue that was left out.";
      say("There is no tile here.");
    }
  }

  function showStage(there) {
    byId("zoom").hidden = byId("zoom-buttons").hidden = !there;
    byId("zoom").parentElement.classList.toggle("bare", !there);
  }

  function note(text) {
    byId("slide-note").textContent = text;
    byId("slide-note").hidden = !text;
  }

  viewer.addHandler("open", () => {
    if (state.x !== null && state.y !== null) look(state.x, state.y, state.z, { at: true });
    else if (state.tile !== null && slide?.x?.[state.tile] !== undefined) {
      look(slide.x[state.tile] + slide.side / 2, slide.y[state.tile] + slide.side / 2, zoomOfTile(), { at: true });
    } else viewer.viewport.goHome(true);
    draw();
  });
  viewer.addHandler("update-viewport", draw);
  viewer.addHandler("resize", draw);
  viewer.addHandler("animation-finish", () => {
    const item = viewer.world.getItemAt(0);
    if (!item || !slide) return;
    const centre = item.viewportToImageCoordinates(viewer.viewport.getCenter());
    const z = item.viewportToImageZoom(viewer.viewport.getZoom());
    change({ x: Math.round(centre.x), y: Math.round(centre.y), z: Number(z.toPrecision(4)) });
  });
  viewer.addHandler("open-failed", (event) => note(`This slide cannot be shown: ${event.message}`));
  viewer.addHandler("tile-load-failed", () => {
    note("A part of the slide could not be read; its file may be damaged.");
    say("A part of the slide could not be read.");
  });
  viewer.addHandler("canvas-click", (event) => { if (event.quick) pickAt(event.position); });
  viewer.canvas.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    pickAt({ x: byId("zoom").clientWidth / 2, y: byId("zoom").clientHeight / 2 });
  });
  byId("zoom-in").addEventListener("click", () => viewer.viewport?.zoomBy(1.6));
  byId("zoom-out").addEventListener("click", () => viewer.viewport?.zoomBy(1 / 1.6));
  byId("zoom-all").addEventListener("click", () => viewer.viewport?.goHome());
  byId("layer").addEventListener("change", (event) => {
    change({ layer: event.target.value }, { step: true });
    say(event.target.value ? `Layer ${event.target.selectedOptions[0].textContent}` : "No layer");
  });
  byId("opacity").addEventListener("input", (event) => change({ opacity: Number(event.target.value) }));
  byId("cut").addEventListener("input", (event) => change({ cut: Number(event.target.value) }));
  new ResizeObserver(draw).observe(byId("zoom"));

  return (changed, linked) => {
    if (changed.has("slide")) {
      open(linked);
      return;
    }
    if (linked && slide && (changed.has("layer") || changed.has("tile"))) settle(linked);
    if (changed.has("tile") && slide) {
      byId("layer").lastElementChild.disabled = state.tile === null;
      if (state.layer === SIMILAR) loadLayer();
    }
    if (changed.has("layer") && slide) {
      byId("layer").value = state.layer;
      loadLayer();
    }
    if (changed.has("opacity") || changed.has("cut")) showLayerFacts();
    // Only what came from elsewhere moves the view: a link, or Back.
    if (["x", "y", "z"].some((name) => changed.has(name)) && state.x !== null) moved();
    draw();
  };

  function moved() {
    const item = viewer.world.getItemAt(0);
    if (!item || !slide) return;
    const centre = item.viewportToImageCoordinates(viewer.viewport.getCenter());
    const z = item.viewportToImageZoom(viewer.viewport.getZoom());
    const zoomed = state.z !== null && Math.abs(z / state.z - 1) > 1e-3;
    if (zoomed || Math.hypot(centre.x - state.x, centre.y - state.y) > 2) look(state.x, state.y, state.z);
  }
}
