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

  const parts = [startFinder(cohort), startMap(missing), startSlide(missing), startPatient(cohort), startNear(cohort)];
  const tell = (changed, linked, asked) => {
    forget(changed);
    if (linked) sayMissing(asked, cohort);
    entitle(cohort);
    parts.forEach((part) => part(changed, linked));
  };
  const asked = readAddress();
  change(settled(asked, cohort));
  whenChanged((changed, linked) => {
    const given = { ...state };
    Object.assign(state, settled(given, cohort)); // Back may lead to an address that says less
    tell(changed, linked, given);
  });
  tell(new Set(Object.keys(state)), true, asked);
}

function entitle(cohort) {
  document.title = [state.slide || state.patient, cohort.name, "MIRROR"].join(" · ");
}

/** What a link names that this cohort does not have; a reader must not take one slide for another. */
function sayMissing(asked, cohort) {
  const shown = `This is ${state.slide || state.patient} in run ${state.run}.`;
  if (asked.slide && !cohort.ownerOf.has(asked.slide)) missing("slide", `no slide ${asked.slide}`, shown);
  if (asked.patient && !cohort.byName.has(asked.patient)) missing("patient", `no patient ${asked.patient}`, shown);
  if (asked.run && !cohort.runs.includes(asked.run)) missing("run", `no run ${asked.run}`, shown);
  if (asked.map && !VIEWS.includes(asked.map)) missing("map", `no map ${asked.map}`, "The map shows slides and expression.");
}

const gone = new Map(); // a name in the address -> what it said that is not here, and what is shown instead

/** Says that `what`, which the link has under `name`, is not here, with a sentence on what is, and elements that help. */
function missing(name, what, instead, ...help) {
  gone.set(name, { what, instead, help });
  notice();
}

/** What the reader has changed since is no word of the link's any more; with another slide, nothing is. */
function forget(changed) {
  if (changed.has("slide") || changed.has("patient")) gone.clear();
  for (const name of changed) gone.delete(name);
  notice();
}

function notice() {
  const all = [...gone.values()];
  const instead = new Set(all.map((one) => one.instead));
  byId("notice").hidden = !all.length;
  fill(byId("notice"), all.length ? [
    `The link names what is not here: ${all.map((one) => one.what).join(", ")}. ${[...instead].join(" ")} `,
    ...all.flatMap((one) => one.help),
  ] : []);
}

/** What an address says, with a run, a patient and a slide that exist in place of those that do not. */
function settled(given, cohort) {
  const found = { ...given };
  // Tiles and places of a slide that is not here mean nothing on another one.
  if (found.slide && !cohort.ownerOf.has(found.slide)) Object.assign(found, { tile: null, x: null, y: null, z: null });
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
