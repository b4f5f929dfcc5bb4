// The tiles of the cohort that look most like the picked one.

import { address, askLines, askSlide, isTile } from "./ask.js";
import { byId, fill, make, say, shown } from "./dom.js";
import { change, state } from "./state.js";

export function startNear(cohort) {
  let asked = null; // stops the question before, when another one is asked

  async function search() {
    asked?.abort();
    asked = null;
    fill(byId("near-list"), []);
    byId("near-progress").hidden = true;
    byId("near-said").textContent = "";
    if (!state.slide) return;
    const own = new AbortController();
    asked = own;
    const [slide, tile, others] = [state.slide, state.tile, state.others];
    const there = await askSlide(slide).catch(() => null); // the slide's part says why it cannot be shown
    if (own.signal.aborted || !there) return;
    if (tile === null) {
      byId("near-said").textContent = there.x
        ? "Click a tile of the slide, or press Enter on it for the one under the cross in the middle."
        : "No tile of this slide can be picked here: nobody knows where they lie.";
      return;
    }
    if (!isTile(there, tile)) return; // the slide's part takes it back, and says so
    byId("near-said").textContent = `Comparing tile ${tile} with the cohort's …`;
    let nearest = [];
    try {
      await askLines("/data/nearest", { slide, tile, others }, (line) => {
        if (line.error) throw new Error(line.error);
        nearest = line.nearest;
        byId("near-progress").hidden = line.done === line.of;
        byId("near-progress").max = line.of;
        byId("near-progress").value = line.done;
      }, { signal: own.signal });
    } catch (error) {
      if (own.signal.aborted) return;
      byId("near-progress").hidden = true;
      byId("near-said").textContent = `The nearest tiles cannot be found: ${error.message}`;
      return;
    }
    byId("near-said").textContent = nearest.length
      ? `Nearest to tile ${tile} of ${slide}, by the cosine of features less the cohort's mean tile:`
      : "There is no other tile to compare with.";
    fill(byId("near-list"), nearest.map(entry));
    say(`${nearest.length} nearest tiles of tile ${tile}`);
  }

  function entry(one) {
    const patient = cohort.byName.get(cohort.ownerOf.get(one.slide));
    const picture = one.pictured
      ? make("img", { src: address("/picture/tile", { slide: one.slide, tile: one.tile }), alt: "", loading: "lazy", width: 56, height: 56 })
      : make("span", { class: "blank" }, "no picture");
    return make("li", {}, make(
      "button",
      {
        type: "button",
        onclick: () => {
          change({ patient: patient.name, slide: one.slide, tile: one.tile, x: null, y: null, z: null }, { step: true });
          byId("slide-title").focus(); // this button goes with its list
        },
      },
      picture,
      make("span", {}, one.slide),
      make("small", {}, `tile ${one.tile} · ${patient.label ? `${patient.label} · ` : ""}`,
        make("span", { class: "unseen" }, "cosine "), shown(one.cosine)),
    ));
  }

  byId("near-others").addEventListener("change", (event) => change({ others: event.target.checked ? 1 : 0 }, { step: true }));

  return (changed) => {
    byId("near-others").checked = state.others === 1;
    if (changed.has("slide") || changed.has("tile") || changed.has("others")) search();
  };
}
