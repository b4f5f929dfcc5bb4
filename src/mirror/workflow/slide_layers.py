"""Layers over a slide: what of, by which method, and the relevance of every tile."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mirror.errors import ConfigError, raise_together
from mirror.explain import overlay, warned
from mirror.explain.head_score import HeadScore, Unjudged
from mirror.explain.offered import FEWEST, default_method, why_not
from mirror.explain.pattern import Seen
from mirror.explain.relevance import COMPLETE, Described, Method, Relevance, Subject
from mirror.explain.targets import (
    AGREEMENT,
    EMBEDDING,
    FUSED,
    Head,
    Target,
    distinct_targets,
    require_known,
    target_names,
)
from mirror.explain.warned import Warned
from mirror.explain.wording import Meaning, meaning
from mirror.workflow.explained import ExplainedRun
from mirror.workflow.kept_fits import Kept, mark_of, read_kept, write_kept

ATTENTION = "attention"
ROUNDING = 1e-5
"""Of the largest number of training patients: a slide that is as far out as the farthest of them is not unlike them."""


class Standing(NamedTuple):
    """Between which numbers the training patients lie, and how well a head judges test patients."""

    usual: tuple[float, float]
    score: HeadScore | Unjudged | None


class Fitted:
    """What is fitted once for all slides of a `run`, kept in the file `kept_in`: heads, and the training patients as
    slides are compared with them."""

    def __init__(self, run: ExplainedRun, kept_in: Path) -> None:
        self.run = run
        self._kept_in, self._mark = kept_in, mark_of(run)
        self._kept = read_kept(kept_in, self._mark)
        self._targets: dict[tuple[str, tuple[str, ...]], list[Target]] = {}
        self._standings: dict[tuple[str, str], Standing] = {}

    def targets(self, names: tuple[str, ...], representation: str) -> list[Target]:
        """As `ExplainedRun.targets`."""
        key = representation, names
        if key not in self._targets:
            self._targets[key] = self._fit(names, representation)
        return self._targets[key]

    def _fit(self, names: tuple[str, ...], representation: str) -> list[Target]:
        known = {name: head for (of, name), head in self._kept.heads.items() if of == representation}
        found = self.run.targets(names, representation, known=known)
        new = {(representation, one.name): one for one in found if isinstance(one, Head) and one.name not in known}
        if new:
            self._keep(self._kept._replace(heads={**self._kept.heads, **new}))
        return found

    def standing(self, target: Target) -> Standing:
        """How the target stands in the run."""
        key = target.representation, target.name
        if key not in self._standings:
            self._standings[key] = Standing(self.run.usual(target), self.run.judged(target))
        return self._standings[key]

    @cached_property
    def seen(self) -> Seen:
        """As `ExplainedRun.seen`."""
        if self._kept.tissue is None:
            self._keep(self._kept._replace(tissue=self.run.tissue()))
        assert self._kept.tissue is not None
        return self.run.seen(self._kept.tissue)

    def _keep(self, kept: Kept) -> None:
        self._kept = kept
        write_kept(self._kept_in, self._mark, kept)

    @cached_property
    def _means(self) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        return self.run.mean_tile, self.run.mean_expression

    def subject(self, tiles_TD: NDArray[np.float32], patient: str) -> Subject:
        """A slide of a patient, beside the means of the training patients."""
        profile = self.run.profiles.get(patient) if self.run.role(patient) != "new" else None
        return Subject(tiles_TD, profile, *self._means)


class Asked(NamedTuple):
    """What to explain of each slide, None where all or the default is meant: targets (`attention` among them), method,
    representation; with `unproven` by methods that did not find planted tiles too."""

    targets: Sequence[str] | None = None
    method: Method | None = None
    representation: str | None = None
    unproven: bool = False


class Layer(NamedTuple):
    """One column of relevance.parquet: what of, by which method, what came out, between which numbers the training
    patients lie, how well the head judges test patients, and why the method is not offered where it is not."""

    name: str
    target: Target | None
    method: Method
    found: Relevance
    usual: tuple[float, float] | None
    score: HeadScore | Unjudged | None = None
    unproven: str | None = None

    @property
    def shown(self) -> overlay.Shown:
        """As pictures take it."""
        marked = "" if self.unproven is None else ", UNPROVEN"
        if self.target is None:
            told = f"share of the slide's attention{marked}"
            return overlay.Shown(self.name, self.found.values, told, signed=False)
        told = "relative to the slide's mean tile" if self.method == "pattern" else "a tile's part"
        unit = f"{self.target.unit}, {told}{marked}"
        return overlay.Shown(self.name, self.found.values, unit, signed=True, meaning=self.meaning)

    @property
    def meaning(self) -> Meaning | None:
        """What a tile does that is above zero, or below; nothing of a share of attention."""
        return None if self.target is None else meaning(self.target.name, self.method)

    @property
    def fused(self) -> bool:
        """True of a number of both modalities that is a sum of what either says."""
        return self.target is not None and self.target.representation == FUSED

    @property
    def number(self) -> str:
        """The number that the tiles are of, and what of it is the slide's; empty where there is none."""
        if self.target is None:
            return ""
        found = self.found
        told = f"number {_signed(found.value)} ({self.target.unit})"
        if self.target.name == AGREEMENT:
            return f"{told} of the slide with the patient's expression"
        if self.fused:
            return (
                f"{told} of slide and expression: {_signed(found.usual)} at the training patients' means, "
                f"{_signed(found.from_slide)} from the slide, {_signed(found.from_expression)} from the expression"
            )
        return f"{told} of the slide alone, {_signed(found.baseline)} at the training patients' mean tile"

    @property
    def warnings(self) -> tuple[Warned, ...]:
        """What is to be known before the layer is believed: the one home of what notes, captions, relevance.json and
        the viewer say of it."""
        name, found = self.name, self.found
        whole, added = float(found.values.sum()), found.from_slide
        fitted_on = len(self.target.fitted_on) if isinstance(self.target, Head) else FEWEST
        usual = self.usual or (-np.inf, np.inf)
        slack = ROUNDING * max(map(abs, usual)) if self.usual is not None else 0.0
        lacking = self.method == "integrated-gradients" and abs(whole - added) > COMPLETE * abs(added)
        told = (
            None if self.unproven is None else warned.unproven(self.unproven),
            None if self.score is None or self.score.beats_chance else warned.unsure(name, self.score),
            warned.few(name, fitted_on) if fitted_on < FEWEST else None,
            None
            if self.usual is None or usual[0] - slack <= found.value <= usual[1] + slack
            else warned.unlike(name, found.value, usual),
            warned.incomplete(name, whole, added) if lacking else None,
        )
        return tuple(one for one in told if one is not None)


def _signed(value: float) -> str:
    """Two decimals, and no minus before a zero."""
    return f"{round(value, 2) + 0.0:+.2f}"


def layers_of(
    fitted: Fitted,
    subject: Subject,
    asked: Asked,
    notes: list[str],
) -> list[Layer]:
    """The layers asked for of a slide; what cannot be explained goes to `notes` where nobody named it.

    Raises `ConfigError` where a named one cannot be explained, or nothing can.
    """
    run = fitted.run
    names = [*distinct_targets(run.table), EMBEDDING, ATTENTION] if asked.targets is None else list(asked.targets)
    require_known(names, (*target_names(run.table), EMBEDDING, ATTENTION))
    targets = _targets(fitted, tuple(names), subject, asked)
    layers: list[Layer] = []
    described = Described(run.trained.model, subject)
    for target in targets:
        name = ATTENTION if target is None else target.name
        if target is not None and target.name == AGREEMENT and subject.profile_G is None:
            notes.append("no agreement: this patient has no expression")
            continue
        try:
            method = asked.method or default_method(run.trained.model, target)
            reason = why_not(run.trained.model, target, method)
            if reason is not None and not asked.unproven:
                raise ConfigError(f"{reason}; --unproven shows it all the same")
        except ConfigError as error:
            if asked.targets is not None:
                raise
            notes.append(str(error))  # of all there are, those that can be explained
            continue
        seen = fitted.seen if method == "pattern" else None
        found = described.relevance(target, method, seen=seen)
        usual, score = (None, None) if target is None else fitted.standing(target)
        layers.append(Layer(name, target, method, found, usual, score, reason))
        notes.extend(one.note for one in layers[-1].warnings)
    if not layers:
        raise_together(ConfigError, "nothing of this slide can be explained:", notes)
    return layers


def _targets(fitted: Fitted, names: tuple[str, ...], subject: Subject, asked: Asked) -> list[Target | None]:
    """The targets `names` in their order. Where no representation is named: of both modalities where the patient has
    them and a method has passed for it, else of the slide alone."""
    numbers = tuple(name for name in names if name != ATTENTION)
    both = subject.profile_G is not None and FUSED in fitted.run.table.views
    found = fitted.targets(numbers, asked.representation or (FUSED if both else "slide"))
    named: dict[str, Target | None] = {ATTENTION: None, **dict(zip(numbers, found, strict=True))}
    if asked.representation is None and both:
        model = fitted.run.trained.model
        refused = [one for one in found if why_not(model, one, asked.method or default_method(model, one)) is not None]
        alone = tuple(one.name for one in refused if one.representation == FUSED)
        named |= dict(zip(alone, fitted.targets(alone, "slide"), strict=True))
    return [named[name] for name in names]


def facts_of(layer: Layer) -> dict[str, Any]:
    """What relevance.json says of a layer."""

    def number(value: float) -> float | None:
        return None if np.isnan(value) else value

    target, means = layer.target, layer.meaning
    apart = target is not None and target.name != AGREEMENT  # a cosine is no sum of what either says
    return {
        "name": layer.name,
        "target": None if target is None else target.name,
        "method": layer.method,
        "unit": layer.shown.unit,
        "signed": layer.shown.signed,
        "representation": None if target is None else target.representation,
        "fitted_on": 0 if target is None else len(target.fitted_on),
        "value": number(layer.found.value),
        "at_mean_tile": number(layer.found.baseline),
        "at_means": number(layer.found.usual),
        "from_slide": number(layer.found.from_slide) if apart else None,
        "from_expression": number(layer.found.from_expression),
        "head": layer.score._asdict() if isinstance(layer.score, HeadScore) else None,
        "unproven": layer.unproven,
        "warnings": [one._asdict() for one in layer.warnings],
        "sum": None if layer.method == "pattern" else float(layer.found.values.sum()),
        "training_patients": layer.usual,
        "more": None if means is None else means.more,
        "less": None if means is None else means.less,
        "compared": None if means is None else means.compared,
    }
