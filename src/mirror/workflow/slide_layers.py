"""Layers over a slide: what of, by which method, and the relevance of every tile."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mirror.errors import ConfigError
from mirror.explain import overlay
from mirror.explain.offered import default_method, why_not
from mirror.explain.pattern import Seen
from mirror.explain.relevance import Method, Relevance, Subject, relevance
from mirror.explain.targets import AGREEMENT, EMBEDDING, Head, Target, distinct_targets
from mirror.workflow.explained import ExplainedRun
from mirror.workflow.kept_fits import Kept, mark_of, read_kept, write_kept

ATTENTION = "attention"


class Fitted:
    """What is fitted once for all slides of a `run`, kept in the file `kept_in`: heads, and the training patients as
    slides are compared with them."""

    def __init__(self, run: ExplainedRun, kept_in: Path) -> None:
        self.run = run
        self._kept_in, self._mark = kept_in, mark_of(run)
        self._kept = read_kept(kept_in, self._mark)

    def targets(self, names: tuple[str, ...], representation: str) -> list[Target]:
        """As `ExplainedRun.targets`."""
        known = {name: head for (of, name), head in self._kept.heads.items() if of == representation}
        found = self.run.targets(names, representation, known=known)
        new = {(representation, one.name): one for one in found if isinstance(one, Head) and one.name not in known}
        if new:
            self._keep(self._kept._replace(heads={**self._kept.heads, **new}))
        return found

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


class Asked(NamedTuple):
    """What to explain of each slide, None where all or the default is meant: targets (`attention` among them), method,
    representation; with `unproven` by methods that did not find planted tiles too."""

    targets: Sequence[str] | None = None
    method: Method | None = None
    representation: str | None = None
    unproven: bool = False


class Layer(NamedTuple):
    """One column of relevance.parquet: what of, by which method, what came out, between which numbers the training
    patients lie, and why the method is not offered where it is not."""

    name: str
    target: Target | None
    method: Method
    found: Relevance
    usual: tuple[float, float] | None
    unproven: str | None = None

    @property
    def shown(self) -> overlay.Shown:
        """As pictures take it."""
        warned = "" if self.unproven is None else ", UNPROVEN"
        if self.target is None:
            told = f"share of the slide's attention{warned}"
            return overlay.Shown(self.name, self.found.values, told, signed=False)
        told = "relative to the slide's mean tile" if self.method == "pattern" else "a tile's part"
        return overlay.Shown(self.name, self.found.values, f"{self.target.unit}, {told}{warned}", signed=True)


def layers_of(
    fitted: Fitted,
    slide: str,
    subject: Subject,
    asked: Asked,
    notes: list[str],
) -> list[Layer]:
    """The layers asked for of a slide; what cannot be explained goes to `notes` where nobody named it.

    Raises `ConfigError` where a named one cannot be explained, or nothing can.
    """
    run = fitted.run
    names = [*distinct_targets(run.table), EMBEDDING, ATTENTION] if asked.targets is None else list(asked.targets)
    targets = _targets(fitted, tuple(names), subject, asked)
    layers: list[Layer] = []
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
        found = relevance(run.trained.model, subject, target, method, seen=seen)
        usual = None if target is None else run.usual(target)
        layers.append(Layer(name, target, method, found, usual, reason))
        if reason is not None:
            notes.append(f"UNPROVEN: {reason}")
        if target is not None and usual is not None and not usual[0] <= found.value <= usual[1]:
            notes.append(
                f"{target.name} of {slide} is {found.value:+.2f}, training patients have {usual[0]:+.2f} to "
                f"{usual[1]:+.2f}: the slide is unlike those the model knows, and so is what it says of it"
            )
    if not layers:
        raise ConfigError("nothing of this slide can be explained: " + "; ".join(notes))
    return layers


def _targets(fitted: Fitted, names: tuple[str, ...], subject: Subject, asked: Asked) -> list[Target | None]:
    """The targets `names` in their order. Where no representation is named: of both modalities where the patient has
    them and a method has passed for it, else of the slide alone."""
    numbers = tuple(name for name in names if name != ATTENTION)
    both = subject.profile_G is not None and "fused" in fitted.run.table.views
    found = fitted.targets(numbers, asked.representation or ("fused" if both else "slide"))
    named: dict[str, Target | None] = {ATTENTION: None, **dict(zip(numbers, found, strict=True))}
    if asked.representation is None and both:
        model = fitted.run.trained.model
        refused = [one for one in found if why_not(model, one, asked.method or default_method(model, one)) is not None]
        alone = tuple(one.name for one in refused if one.representation == "fused")
        named |= dict(zip(alone, fitted.targets(alone, "slide"), strict=True))
    return [named[name] for name in names]


def facts_of(layer: Layer) -> dict[str, Any]:
    """What relevance.json says of a layer."""

    def number(value: float) -> float | None:
        return None if np.isnan(value) else value

    target = layer.target
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
        "unproven": layer.unproven,
        "sum": None if layer.method == "pattern" else float(layer.found.values.sum()),
        "training_patients": layer.usual,
    }
