"""Is it true where an explanation points? Planted tiles found, weights that matter, tiles that count when removed.

    python experiments/explanations_true.py [--patients 400] [--scans demo-slides]

The cohort of `simulate/cohort.py`: a patient's factors move the tumour's tiles and no others. Each preset is trained on
the training patients of fold 0, heads are fitted on its slide representation, and slides of test patients are explained
by every method that says anything of the preset, whether it is offered or not.

* planted: AUROC of relevance for the tumour's tiles, mean over the slides that carry the factor behind the target (its
  size at least 1). Relevance counts in the direction in which the factor really moves the target.
* random: Spearman correlation with the relevance that is left when weights are drawn anew, layer by layer from the
  output down (Adebayo et al., 2018): mean over slides of its absolute value. A method that does not look at the weights
  keeps 1.
* removed: what the target loses, in its own direction, when the fifth of the tiles with most relevance is taken out of
  the slide, beside random fifths; in standard deviations of the target over the slides.

With `--scans` the same numbers of slides with real pixels: the folder in which `mirror demo --slides` has run. The last
line is one JSON object.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import yaml
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import nn

from mirror.config import Config, load_config, resolve
from mirror.data.feature_store import FeatureStore
from mirror.data.places import tile_places
from mirror.errors import ConfigError
from mirror.evaluation.metrics import auroc
from mirror.explain.relevance import Method, Model, Subject, relevance, target_value
from mirror.explain.targets import AGREEMENT, Target
from mirror.nn.canonical import CanonicalMirror
from mirror.seeding import generator_for, rng_for
from mirror.simulate.cohort import SimulationSizes, simulate_cohort
from mirror.simulate.planted import planted_share
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.embed import embed_run
from mirror.workflow.explained import ExplainedRun, RunName, explained_run
from mirror.workflow.pretrain import pretrain_fold

Floats = NDArray[np.float64]
METHODS: tuple[Method, ...] = ("contributions", "integrated-gradients", "attention-gradient", "attention")
SCANS = "mirror, scans"
REMOVED = 0.2
DRAWS = 10

PRESETS: dict[str, dict[str, Any]] = {
    "mirror": {"preset": "mirror", "model": {"components": 16}, "pretraining": {"tiles": 48}},
    "alignment-only": {"preset": "alignment-only", "model": {"components": 16}, "pretraining": {"tiles": 48}},
    "published": {
        "preset": "published",
        "model": {"width": 96, "attention": "exact", "style_hidden": 64, "style_out": 48, "style_latent": 32,
                  "prototypes": 64},
        "pretraining": {"tiles": 48, "epochs": 30, "learning_rate": 2e-4, "expression_transform": "standardise"},
    },
    "published, Nystrom": {
        "preset": "published",
        "model": {"width": 96, "landmarks": 16, "style_hidden": 64, "style_out": 48, "style_latent": 32,
                  "prototypes": 64},
        "pretraining": {"tiles": 48, "epochs": 30, "learning_rate": 2e-4, "expression_transform": "standardise"},
    },
}  # fmt: skip


class Slide(NamedTuple):
    """A slide of a test patient, which of its tiles are tumour (T,), and the patient's factors by name."""

    subject: Subject
    planted: NDArray[np.bool_]
    factors: pd.Series

    def behind(self, target: str) -> float:
        """The factor behind a target, as far as it shows in slides; positive where there is more of the target."""
        if target == AGREEMENT:  # more of the shared factor, in either direction, agrees more
            return float(np.hypot(self.factors["shared_subtype"], self.factors["shared_survival"]))
        part = "survival" if target == "risk" else "subtype"
        visible = float(self.factors[f"shared_{part}"] + self.factors[f"slide_{part}"])
        return -visible if target == "class:A" else visible


def trained(config: Config, *, fresh: bool) -> ExplainedRun:
    """The run of fold 0; trained and embedded first where it is not there."""
    cohort = prepare_cohort(config)
    if fresh:
        run = pretrain_fold(config, cohort, cohort.folds[0], config.seeds[0])
        embed_run(run, cohort, fold=cohort.folds[0], path=run.embeddings)
    return explained_run(config, cohort, RunName(config.seeds[0], cohort.folds[0].number))


def slides_of(run: ExplainedRun, folder: Path, count: int) -> list[Slide]:
    """The first slides of test patients, by name."""
    truth = pd.read_csv(folder / "truth.csv", index_col="case_id")
    store, found = FeatureStore(run.cohort.paths), list[Slide]()
    for slide, patient in zip(run.cohort.slides["slide"], run.cohort.slides["patient"], strict=True):
        if patient in run.fold.test and len(found) < count:
            bag = store.bag(slide)
            places = tile_places(bag)
            assert places is not None
            share = planted_share(folder, slide, places.coords, places.side)
            subject = Subject(bag.read(), run.profiles.get(patient), run.mean_tile)
            if 0 < (share >= 0.5).sum() < len(share):
                found.append(Slide(subject, share >= 0.5, truth.loc[patient]))
    return found


def planted(slides: Iterable[Slide], target: str | None, found: Iterable[Floats]) -> float:
    """Mean AUROC of relevance for planted tiles over the slides that carry the factor."""
    areas = list[float]()
    for slide, values in zip(slides, found, strict=True):
        factor = 1.0 if target is None else slide.behind(target)
        if abs(factor) >= 1.0:
            scores = np.stack([-values, values], axis=1) * np.sign(factor)
            areas.append(auroc(slide.planted.astype(int), scores))
    return float(np.mean(areas))


def layers(model: Model) -> list[tuple[str, Callable[[Model, torch.Generator], None]]]:
    """What makes a slide's number, from the output down: the name of a layer and what draws it anew in place."""
    if isinstance(model, CanonicalMirror):
        names = ["slide_readout", "correlations", "slide_axes", "slide_network.out", "slide_network.score",
                 "slide_network.gate", "slide_network.embed"]  # fmt: skip
    else:
        encoder = "slide_encoder"
        names = ["alignment.slide", f"{encoder}.norm", f"{encoder}.attention2", f"{encoder}.grid",
                 f"{encoder}.attention1", f"{encoder}.embed"]  # fmt: skip
    return [(name, lambda model, generator, name=name: redraw(model, name, generator)) for name in names]


@torch.no_grad()
def redraw(model: nn.Module, name: str, generator: torch.Generator) -> None:
    """Replace every tensor of a layer by normal numbers of its own mean and deviation."""
    owner: Any = model
    for part in name.split("."):
        owner = getattr(owner, part)
    tensors = [owner] if isinstance(owner, torch.Tensor) else [*owner.parameters(), *owner.buffers()]
    for tensor in tensors:
        spread = tensor.std(correction=0) if tensor.numel() > 1 else tensor.abs().mean()
        spread = torch.where(spread > 0, spread, torch.ones_like(spread))
        tensor.copy_(tensor.mean() + spread * torch.randn(tensor.shape, generator=generator))


def cascade(model: Model, slides: list[Slide], target: Target | None, method: Method, first: list[Floats]) -> Floats:
    """Mean absolute rank correlation with `first` after each further layer is drawn anew."""
    model = copy.deepcopy(model)
    left: list[float] = []
    for number, (_, draw) in enumerate(layers(model)):
        draw(model, generator_for(0, "cascade", number))
        again = [relevance(model, slide.subject, target, method).values for slide in slides]
        left.append(float(np.mean([_same(one, other) for one, other in zip(first, again, strict=True)])))
    return np.array(left)


def _same(one: Floats, other: Floats) -> float:
    return 0.0 if np.ptp(other) == 0 or np.ptp(one) == 0 else abs(float(spearmanr(one, other).statistic))


def removed(model: Model, slides: list[Slide], target: Target, found: list[Floats]) -> tuple[float, float]:
    """What the target loses in its own direction without the top fifth, and without random fifths."""
    rng = rng_for(0, "removed")
    top, chance, values = list[float](), list[float](), list[float]()
    for slide, scores in zip(slides, found, strict=True):
        subject = slide.subject
        whole = target_value(model, subject, target)
        mean_tiles = np.broadcast_to(subject.baseline_D, subject.tiles_TD.shape).astype(np.float32)
        towards = np.sign(whole - target_value(model, subject._replace(tiles_TD=mean_tiles), target))
        count = max(1, round(REMOVED * len(scores)))

        def without(rows: NDArray[np.intp], subject: Subject = subject) -> float:
            return target_value(model, subject._replace(tiles_TD=np.delete(subject.tiles_TD, rows, axis=0)), target)

        values.append(whole)
        top.append(towards * (whole - without(np.argsort(-towards * scores)[:count])))
        drawn = [whole - without(rng.permutation(len(scores))[:count]) for _ in range(DRAWS)]
        chance.append(towards * float(np.mean(drawn)))
    return float(np.mean(top) / np.std(values)), float(np.mean(chance) / np.std(values))


def rows_of(name: str, run: ExplainedRun, slides: list[Slide]) -> Iterator[dict[str, Any]]:
    """Every method and target of one preset."""
    model = run.trained.model
    targets = [*run.targets(["class:B", "risk"], "slide"), *run.targets([AGREEMENT], "slide")]
    for method in METHODS:
        for target in [None] if method == "attention" else targets:
            some = [
                slide
                for slide in slides
                if target is None or target.name != AGREEMENT or slide.subject.profile_G is not None
            ]
            try:
                found = [relevance(model, slide.subject, target, method).values for slide in some]
            except ConfigError:  # it says nothing of this target in this model
                continue
            named = None if target is None else target.name
            left = cascade(model, some[:5], target, method, found[:5])
            lost = (float("nan"), float("nan")) if target is None else removed(model, some, target, found)
            yield {
                "preset": name, "method": method, "target": named or "-", "planted": planted(some, named, found),
                "random": left.tolist(), "removed": lost[0], "removed_at_random": lost[1],
            }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=400)
    parser.add_argument("--noise", type=float, default=1.0, help="deviation of a tile's own noise (demo: 2)")
    parser.add_argument("--tissues", type=float, default=0.5, help="how far apart kinds of tissue lie (demo: 2)")
    parser.add_argument("--slides", type=int, default=20, help="slides of test patients to explain")
    parser.add_argument("--scans", type=Path, help="folder of mirror demo --slides")
    parser.add_argument("--only", nargs="+", default=[*PRESETS, SCANS], help="these presets")
    given = parser.parse_args()
    torch.set_num_threads(1)
    lines: list[dict[str, Any]] = []
    print("| preset | method | target | planted | random, layer by layer | removed: top | removed: random |")
    print("|---|---|---|---|---|---|---|", flush=True)

    def add(name: str, run: ExplainedRun, folder: Path) -> None:
        for line in rows_of(name, run, slides_of(run, folder, given.slides)):
            lines.append(line)
            left = " ".join(f"{one:.2f}" for one in line["random"])
            lost = f"{line['removed']:.2f} | {line['removed_at_random']:.2f}"
            print(
                f"| {name} | {line['method']} | {line['target']} | {line['planted']:.3f} | {left} | {lost} |",
                flush=True,
            )

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        simulate_cohort(
            folder,
            seed=0,
            sizes=SimulationSizes(patients=given.patients, tile_noise=given.noise, tissue_spread=given.tissues),
        )
        for name, sections in PRESETS.items():
            if name not in given.only:
                continue
            content = yaml.safe_load((folder / "demo.yaml").read_text(encoding="utf-8"))
            content = {key: content[key] for key in ("name", "cohort")} | sections | {"output": f"run-{name}"}
            add(name, trained(resolve(content, where=folder / "demo.yaml"), fresh=True), folder)
    if given.scans is not None and SCANS in given.only:
        add(SCANS, trained(load_config(given.scans / "demo.yaml"), fresh=False), given.scans)
    print(json.dumps(lines, allow_nan=True))


if __name__ == "__main__":
    main()
