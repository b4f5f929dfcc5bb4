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
  cohort.pictured = new Set(cohort.pictures);
  document.title = `${cohort.name} · MIRROR`;
  byId("name").textContent = cohort.name;
  byId("about").textContent = `${cohort.patients.length} patients, ${cohort.ownerOf.size} slides`
    + ` (${cohort.pictured.size} with a file), preset ${cohort.preset}`;
  fill(byId("map-run"), cohort.runs.map((name) => make("option", { value: name }, name)));

  change(settled(readAddress(), cohort));
  const parts = [startFinder(cohort), startMap(cohort), startSlide(cohort), startPatient(cohort), startNear(cohort)];
  whenChanged((changed) => {
    Object.assign(state, settled(state, cohort)); // Back may lead to an address that says less
    parts.forEach((part) => part(changed));
  });
  parts.forEach((part) => part(new Set(Object.keys(state))));
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
  }
});

start().catch((error) => {
  fill(document.querySelector("main"), [make("p", { class: "note", role: "alert" }, `The page cannot be shown: ${error.message}`)]);
});
