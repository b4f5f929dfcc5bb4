// The page: fetches the cohort, starts the parts, and tells each of them what changed.

import { byId, fill, make, say } from "./dom.js";
import { ask } from "./ask.js";
import { startFinder } from "./finder.js";
import { startMap } from "./map.js";
import { startNear } from "./near.js";
import { startPatient } from "./patient.js";
import { startSlide } from "./slide.js";
import { change, readAddress, state, whenChanged } from "./state.js";

const VIEWS = [...byId("map-view").options].map((one) => one.value);

async function start() {
  const cohort = await ask("/data/cohort");
  cohort.byName = new Map(cohort.patients.map((one) => [one.name, one]));
  cohort.ownerOf = new Map(cohort.patients.flatMap((one) => one.slides.map((slide) => [slide, one.name])));
  byId("name").textContent = cohort.name;
  byId("about").textContent = `${cohort.patients.length} patients, ${cohort.ownerOf.size} slides`
    + ` (${cohort.pictures} with a file), preset ${cohort.preset}`;
  fill(byId("map-run"), cohort.runs.map((name) => make("option", { value: name }, name)));

  const asked = readAddress();
  change(settled(asked, cohort));
  notice(missing(asked, cohort));
  const parts = [startFinder(cohort), startMap(cohort), startSlide(cohort), startPatient(cohort), startNear(cohort)];
  whenChanged((changed) => {
    Object.assign(state, settled(state, cohort)); // Back may lead to an address that says less
    if (changed.has("slide") || changed.has("patient")) notice("");
    entitle(cohort);
    parts.forEach((part) => part(changed));
  });
  parts.forEach((part) => part(new Set(Object.keys(state))));
  entitle(cohort);
}

function entitle(cohort) {
  document.title = [state.slide || state.patient, cohort.name, "MIRROR"].join(" · ");
}

/** What a link names that this cohort does not have, as a sentence; a reader must not take one slide for another. */
function missing(asked, cohort) {
  const gone = [
    asked.slide && !cohort.ownerOf.has(asked.slide) ? `no slide ${asked.slide}` : "",
    asked.patient && !cohort.byName.has(asked.patient) ? `no patient ${asked.patient}` : "",
    asked.run && !cohort.runs.includes(asked.run) ? `no run ${asked.run}` : "",
  ].filter(Boolean);
  return gone.length ? `The link names what is not here: ${gone.join(", ")}. This is ${state.slide || state.patient} in run ${state.run}.` : "";
}

function notice(text) {
  byId("notice").textContent = text;
  byId("notice").hidden = !text;
}

/** What an address says, with a run, a patient and a slide that exist in place of those that do not. */
function settled(given, cohort) {
  const found = { ...given };
  if (!VIEWS.includes(found.map)) found.map = VIEWS[0];
  if (!cohort.runs.includes(found.run)) found.run = cohort.runs[0];
  if (!cohort.ownerOf.has(found.slide)) found.slide = "";
  if (found.slide) found.patient = cohort.ownerOf.get(found.slide);
  if (!cohort.byName.has(found.patient)) found.patient = cohort.patients[0].name;
  if (!found.slide) found.slide = cohort.byName.get(found.patient).slides[0] ?? "";
  return found;
}

byId("link").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(location.href);
    say("The link to this view is copied.");
    byId("link").textContent = "Copied";
    setTimeout(() => { byId("link").textContent = "Copy link to this view"; }, 1500);
  } catch {
    say("The browser lets nothing be copied; the address bar has the link.");
    byId("link").textContent = "Copy it from the address bar";
  }
});

start().catch((error) => {
  fill(document.querySelector("main"), [make("p", { class: "note", role: "alert" }, `The page cannot be shown: ${error.message}`)]);
});
