// One patient: who, which genes stand out, what became of the patient and what was predicted.

import { ask } from "./ask.js";
import { byId, draw, fill, make, shown } from "./dom.js";
import { change, state } from "./state.js";

const WIDE = 340;
const HIGH = 190;
const LEFT = 34;
const BOTTOM = 28;

export function startPatient(cohort) {
  let known = null;
  let wanted = "";

  async function load() {
    const name = state.patient;
    wanted = name;
    byId("patient-title").textContent = `Patient ${name}`;
    try {
      const answer = await ask("/data/patient", { name });
      if (wanted !== name) return;
      known = answer;
    } catch (error) {
      fill(byId("patient-body"), [make("p", { class: "note" }, `This patient cannot be shown: ${error.message}`)]);
      return;
    }
    fill(byId("patient-body"), [facts(), slides(), predicted() ?? unpredicted(), survival(), genes()].filter(Boolean));
  }

  function facts() {
    const rows = [
      ["Label", known.label ?? "none"],
      ...Object.entries(known.sites),
      ["Judged by", known.judged_in ? `run ${known.judged_in}, which has not seen this patient` : "no run"],
    ];
    return make("dl", { class: "facts" }, ...rows.flatMap(([title, value]) => [make("dt", {}, title), make("dd", {}, value)]));
  }

  function slides() {
    if (known.slides.length < 2) return null;
    return make("ul", { class: "chips", "aria-label": "Slides of this patient" }, ...known.slides.map((slide) => make("li", {}, make("button", {
      type: "button", "aria-current": slide === state.slide ? "true" : null,
      onclick: () => change({ slide, tile: null, x: null, y: null, z: null }, { step: true }),
    }, slide))));
  }

  function predicted() {
    if (!known.classes) return null;
    const rows = Object.entries(known.classes.chances).sort((one, other) => other[1] - one[1]);
    return make("div", {},
      make("h3", {}, "Predicted label"),
      make("table", { class: "bars" },
        make("caption", {}, `Probability by the ${known.classes.by}; fitted without this patient`),
        make("tbody", {}, ...rows.map(([name, chance]) => make("tr", {},
          make("th", { scope: "row" }, name, name === known.label ? make("small", {}, " (true)") : null),
          make("td", {}, bar(chance, 0, 1, name === known.label ? "own" : "other")),
          make("td", { class: "number" }, shown(chance, 2))))),
      ));
  }

  function unpredicted() {
    if (!known.unpredicted) return null;
    const { reason, command } = known.unpredicted;
    return make("div", {},
      make("h3", {}, "Predictions"),
      make("p", { class: "help" }, `Neither label nor risk is predicted here: ${reason}.`,
        ...(command ? [" This makes it, for a page that is opened afterwards: ", make("code", {}, command)] : [])));
  }

  function survival() {
    const curve = cohort.survival;
    if (!curve) return null;
    const own = known.survival;
    const last = Math.max(...curve.months, ...own.predicted.map((one) => one.months));
    const x = (months) => LEFT + (months / last) * (WIDE - LEFT - 8);
    const y = (share) => 8 + (1 - share) * (HIGH - BOTTOM - 8);
    const steps = (months, shares) => shares.map((share, at) => (at ? `H${x(months[at]).toFixed(1)}V${y(share).toFixed(1)}` : `M${x(months[0]).toFixed(1)} ${y(share).toFixed(1)}`)).join("");
    const back = curve.months.map((_, at) => curve.months.length - 1 - at)
      .map((at) => `L${x(curve.months[at]).toFixed(1)} ${y(curve.low[at]).toFixed(1)}${at ? `L${x(curve.months[at]).toFixed(1)} ${y(curve.low[at - 1]).toFixed(1)}` : ""}`).join("");
    const parts = [
      ...[0, 0.5, 1].map((share) => draw("line", { class: "rule", x1: LEFT, x2: WIDE - 8, y1: y(share), y2: y(share) })),
      ...[0, 0.5, 1].map((share) => draw("text", { x: LEFT - 6, y: y(share) + 4, "text-anchor": "end" }, String(share))),
      ...ticks(last).map((months) => draw("text", { x: x(months), y: HIGH - 12, "text-anchor": "middle" }, String(months))),
      draw("text", { class: "axis", x: WIDE - 8, y: HIGH - 1, "text-anchor": "end" }, "months"),
      draw("path", { class: "band", d: `${steps(curve.months, curve.high)}${back}Z` }),
      draw("path", { class: "cohort", d: steps(curve.months, curve.share) }),
    ];
    if (own.predicted.length) {
      const line = [{ months: 0, share: 1 }, ...own.predicted];
      parts.push(draw("path", { class: "predicted", d: line.map((one, at) => `${at ? "L" : "M"}${x(one.months).toFixed(1)} ${y(one.share).toFixed(1)}`).join("") }));
      parts.push(...own.predicted.map((one) => draw("circle", { class: "predicted-at", cx: x(one.months), cy: y(one.share), r: 3 })));
    }
    if (own.time !== null) {
      parts.push(draw("line", { class: own.event ? "event" : "censored", x1: x(own.time), x2: x(own.time), y1: 8, y2: HIGH - BOTTOM }));
      parts.push(own.event
        ? draw("path", { class: "mark", d: `M${x(own.time)} 3l6 6l-6 6l-6-6Z` })
        : draw("circle", { class: "mark open", cx: x(own.time), cy: 9, r: 5 }));
    }
    const said = own.time === null ? "Follow-up of this patient is not known."
      : `${own.event ? "Event" : "Censored"} at ${shown(own.time, 1)} months.`;
    const step = own.step ? ` Predicted risk: ${own.step}${own.step.endsWith("fifth") ? "" : " fifth"} of the test patients.` : "";
    return make("div", {},
      make("h3", {}, "Survival"),
      draw("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": `Kaplan-Meier estimate of ${curve.patients} patients, ${curve.events} events. ${said}${step}` }, ...parts),
      make("p", { class: "key" },
        make("span", {}, make("span", { class: "line cohort" }), `cohort (${curve.patients}, 95 % band)`),
        own.predicted.length ? make("span", {}, make("span", { class: "line predicted" }), `predicted by ${own.by}`) : null,
        own.time === null ? null : make("span", {}, make("span", { class: own.event ? "dot event" : "dot censored" }),
          own.event ? "event" : "censored")),
      make("p", {}, said + step),
    );
  }

  function genes() {
    const found = known.genes;
    if (found.reason) return make("div", {}, make("h3", {}, "Genes"), make("p", {}, found.reason));
    const most = Math.max(1, ...[...found.high, ...found.low].map((one) => Math.abs(one.z)));
    const table = (title, rows) => make("table", { class: "bars" },
      make("caption", {}, title),
      make("thead", { class: "unseen" }, make("tr", {}, ...["gene", "size", "z"].map((name) => make("th", { scope: "col" }, name)))),
      make("tbody", {}, ...rows.map((one) => make("tr", { title: `${shown(one.value, 2)} ${found.units}` },
        make("th", { scope: "row" }, one.gene),
        make("td", {}, bar(Math.abs(one.z), 0, most, one.z > 0 ? "up" : "down")),
        make("td", { class: "number" }, shown(one.z, 1))))));
    return make("div", {},
      make("h3", {}, "Genes that stand out"),
      make("p", { class: "help" }, `z-scores against the ${found.against} training patients of ${found.run} with a profile; ${found.of.toLocaleString("en")} of ${found.genes.toLocaleString("en")} genes have one.`),
      make("div", { class: "two" }, table("Highest", found.high), table("Lowest", found.low)),
      attributions(found),
    );
  }

  function attributions(found) {
    const heading = make("h3", {}, "What these genes add to the model's numbers");
    if (!found.attributions.length) {
      return make("div", {}, heading, make("p", { class: "help" }, "Not computed yet: ", make("code", {}, found.command)));
    }
    return make("div", {}, heading, ...found.attributions.map((one) => {
      const most = Math.max(...one.genes.map((gene) => Math.abs(gene.value)), 1e-12);
      return make("table", { class: "bars" },
        make("caption", {}, `${one.target}: ${shown(one.value, 2)}, of a mean patient ${shown(one.at_mean, 2)}; the largest parts`),
        make("tbody", {}, ...one.genes.map((gene) => make("tr", {},
          make("th", { scope: "row" }, gene.gene),
          make("td", {}, bar(gene.value, -most, most, gene.value > 0 ? "up" : "down")),
          make("td", { class: "number" }, shown(gene.value))))));
    }));
  }

  return (changed) => {
    if (changed.has("patient")) load();
    else if (changed.has("slide") && known) {
      for (const button of byId("patient-body").querySelectorAll(".chips button")) {
        if (button.textContent === state.slide) button.setAttribute("aria-current", "true");
        else button.removeAttribute("aria-current");
      }
    }
  };
}

function bar(value, low, high, kind) {
  const zero = ((0 - low) / (high - low)) * 100;
  const at = ((value - low) / (high - low)) * 100;
  return draw("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", class: "bar", "aria-hidden": "true" },
    draw("rect", { class: kind, x: Math.min(zero, at), y: 1, width: Math.max(0.5, Math.abs(at - zero)), height: 8 }));
}

function ticks(last) {
  const rough = last / 5;
  const ten = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * ten).find((one) => one >= rough);
  return Array.from({ length: Math.floor(last / step) + 1 }, (_, at) => at * step);
}
