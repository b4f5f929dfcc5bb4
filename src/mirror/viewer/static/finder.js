// The search field: a combobox after the ARIA pattern, by name of patient or slide, or by label.

import { byId, fill, make, say } from "./dom.js";
import { change, state } from "./state.js";

const MOST = 60;

export function startFinder(cohort) {
  const input = byId("find");
  const list = byId("found");
  const entries = cohort.patients.flatMap((patient) => {
    const slides = patient.slides.length ? patient.slides : [""];
    return slides.map((slide) => ({
      patient: patient.name,
      slide,
      title: slides.length > 1 ? slide : patient.name,
      note: [patient.label, slide ? null : "no slide"].filter(Boolean).join(" · "),
      text: [patient.name, slide, patient.label].filter(Boolean).join(" ").toLowerCase(),
    }));
  });
  let found = [];
  let at = -1;

  function open() {
    const words = input.value.trim().toLowerCase().split(/\s+/);
    const all = entries.filter((entry) => words.every((word) => entry.text.includes(word)));
    found = all.slice(0, MOST);
    at = -1;
    fill(list, found.map((entry, place) => make(
      "li",
      {
        role: "option", id: `found-${place}`, "aria-selected": "false",
        onmousedown: (event) => { event.preventDefault(); choose(entry); },
      },
      make("span", {}, entry.title),
      make("small", {}, entry.note),
    )));
    if (all.length > MOST) list.append(make("li", { class: "more", "aria-disabled": "true", role: "option" }, `${all.length - MOST} more; type on`));
    if (!all.length) list.append(make("li", { class: "more", "aria-disabled": "true", role: "option" }, "Nobody is called that"));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    input.removeAttribute("aria-activedescendant");
    say(`${all.length} found`);
  }

  function close() {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function go(place) {
    if (!found.length) return;
    list.children[at]?.setAttribute("aria-selected", "false");
    at = (place + found.length) % found.length;
    list.children[at].setAttribute("aria-selected", "true");
    list.children[at].scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", `found-${at}`);
  }

  function choose(entry) {
    input.value = "";
    close();
    change({ patient: entry.patient, slide: entry.slide, tile: null, x: null, y: null, z: null }, { step: true });
  }

  input.addEventListener("input", open);
  input.addEventListener("focus", open);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) open();
      go(event.key === "ArrowDown" ? at + 1 : at < 0 ? -1 : at - 1);
    } else if (event.key === "Enter" && !list.hidden && found.length) {
      event.preventDefault();
      choose(found[Math.max(at, 0)]);
    } else if (event.key === "Escape") {
      if (list.hidden) input.value = "";
      close();
    }
  });

  return (changed) => {
    if (changed.has("patient")) say(`Patient ${state.patient}`);
  };
}
