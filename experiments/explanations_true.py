"""Is it true where an explanation points? Planted tiles found, weights that matter, tiles that count when removed.

    python experiments/explanations_true.py [--patients 400] [--representation fused] [--scans FOLDER] [--seed 0]

The cohort of `simulate/cohort.py`: a patient's factors move the tumour's tiles and no others. Each preset is trained on
the training patients of fold 0, heads are fitted on its slide representation (or the fused one, which `mirror explain
slide` takes where a patient has expression), and slides of test patients are explained by every method that says
anything of the preset, whether it is offered or not.

* planted: AUROC of relevance for the tumour's tiles, mean over the slides that carry the factor behind the target (its
  size at least 1). Relevance counts in the direction in which the factor really moves the target.
* whole: the same without the tiles on the tumour's border, which are neither.
* random: Spearman correlation with the relevance that is left when weights are drawn anew, layer by layer from the
  output down (Adebayo et al., 2018): mean over slides of its absolute value. A method that does not look at the weights
  keeps 1.
* removed: what the target loses when the fifth of the tiles with most relevance, the red ones, is taken out of the
  slide, beside random fifths; in standard deviations of the target over the slides. `p` is of Wilcoxon's test that the
  first is more than the second, slide by slide, of the first 60 slides. The second table has the whole deletion curve:
  the same for other shares of the tiles, each beside random tiles.

The rows `told the truth` are a ceiling of what any relevance that is linear in the features could reach: a linear
ranking that is told where the tumour of training slides is and what factor it has, the best of four penalties on the
slides it is measured on. Those of the `true factor` are the method `pattern` on the factor itself in the place of the
head's number: what is missing from there to `pattern` is the head's, which errs, and not the explanation's.

With `--scans` instead of features the same numbers of slides with pixels: the folder in which `mirror demo --slides`
has run, or one that is simulated and extracted first (`--patients`, `--contrast`). The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from deletion_curve import NOTHING_REMOVED, REMOVED, TESTED, Deletion, removed
from planted_ceiling import of_true_factor, told_the_truth
from planted_slides import Slide, areas, readable, slides_of, true_factors
from randomised_weights import Cascade
from simulated_presets import PRESETS, configuration
from simulated_runs import scanned, simulated_scans, trained

from mirror.errors import ConfigError
from mirror.explain.pattern import Seen
from mirror.explain.relevance import Method, relevance
from mirror.explain.targets import AGREEMENT, EMBEDDING
from mirror.simulate.cohort import SimulationSizes, simulate_cohort
from mirror.workflow.explained import ExplainedRun

METHODS: tuple[Method, ...] = get_args(Method)
HEADS, OTHERS = ("class:B", "risk"), (AGREEMENT, EMBEDDING)
TARGETS = (*HEADS, *OTHERS)
TOLD, OF_FACTOR = "told the truth", "pattern of the true factor"
REDRAWN = 5
"""Most slides that are explained by redrawn weights."""
LOOKED_AT = 60
"""Most slides of which tiles are removed, which takes a pass of the model for each draw."""


class SimulatedRun(NamedTuple):
    """A run, its name in the tables, and the folder of its cohort."""

    name: str
    run: ExplainedRun
    folder: Path


class Asked(NamedTuple):
    """How many slides are explained, what heads read, by which methods, and which targets."""

    slides: int
    representation: str
    methods: Sequence[Method]
    targets: Sequence[str]


class Row(NamedTuple):
    """What was measured of a method and a target (`-` where it has none), as in the first table."""

    preset: str
    method: str
    target: str
    planted: float
    planted_whole: float
    random: list[float]
    deletion: Deletion

    @property
    def named(self) -> str:
        """The cells with which a line of either table begins."""
        return f"| {self.preset} | {self.method} | {self.target} |"

    def as_json(self) -> dict[str, Any]:
        """As the last line of what is printed has it."""
        return {**self._asdict(), "deletion": self.deletion.as_json()}


def rows_of(simulated: SimulatedRun, asked: Asked) -> Iterator[Row]:
    """The ceilings of each head, then every method and target."""
    preset, run, folder = simulated
    model, slides, seen = run.trained.model, slides_of(run, folder, asked.slides), run.seen()
    heads = run.targets([name for name in HEADS if name in asked.targets], asked.representation)
    targets = [*heads, *run.targets([name for name in OTHERS if name in asked.targets], "slide")]
    # The agreement has a direction of its own for every patient, which no ranking has.
    yield from ceilings(simulated, slides, seen, [head.name for head in heads])
    cascade = Cascade(run, seen)
    for method in asked.methods:
        for target in [None] if method == "attention" else targets:
            some, name = readable(slides, target), None if target is None else target.name
            try:
                found = [relevance(model, slide.subject, target, method, seen=seen).values for slide in some]
            except ConfigError:  # it says nothing of this target in this model
                continue
            left = cascade.left_of(found[:REDRAWN], some[:REDRAWN], target, method)
            known = target is not None
            lost = removed(model, some[:LOOKED_AT], target, found[:LOOKED_AT]) if known else NOTHING_REMOVED
            yield Row(preset, method, name or "-", *areas(some, name, found), left.tolist(), lost)


def ceilings(simulated: SimulatedRun, slides: list[Slide], seen: Seen, targets: Iterable[str]) -> Iterator[Row]:
    """Of each target what could be reached on planted tiles."""
    preset, run, folder = simulated
    train, truth = slides_of(run, folder, 10**6, half="train"), true_factors(folder)
    for target in targets:
        told = {TOLD: told_the_truth(train, slides, target), OF_FACTOR: of_true_factor(slides, target, seen, truth)}
        for method, found in told.items():
            yield Row(preset, method, target, *found, [], NOTHING_REMOVED)


def runs(given: argparse.Namespace) -> Iterator[SimulatedRun]:
    """The run of each preset. A cohort that no folder is named for is there until the last one has been looked at."""
    if given.scans is not None:
        simulated_scans(given.scans, seed=given.seed, patients=given.patients, contrast=given.contrast)
        for name in given.only:
            yield SimulatedRun(f"{name}, scans", scanned(given.scans, name), given.scans)
        return
    sizes = SimulationSizes(patients=given.patients, tile_noise=given.noise, tissue_spread=given.tissues)
    with tempfile.TemporaryDirectory() as place:
        simulate_cohort(Path(place), seed=given.seed, sizes=sizes)
        for name in given.only:
            yield SimulatedRun(name, trained(configuration(Path(place), name)), Path(place))


def print_head() -> None:
    """The first table's."""
    print(
        "| preset | method | target | planted | whole | random, layer by layer | removed: top | removed: random | p |"
    )
    print("|---|---|---|---|---|---|---|---|---|", flush=True)


def print_row(row: Row) -> None:
    """A line of the first table."""
    left, fall = " ".join(f"{one:.2f}" for one in row.random), row.deletion
    lost = f"{fall.top[TESTED]:.2f} | {fall.chance[TESTED]:.2f} | {fall.p:.2g}"
    print(f"{row.named} {row.planted:.3f} | {row.planted_whole:.3f} | {left} | {lost} |", flush=True)


def print_curves(rows: Iterable[Row]) -> None:
    """What top tiles cost, and random ones, by the share of the tiles that is removed."""
    print("\n| preset | method | target |" + "".join(f" {share:.0%} |" for share in REMOVED))
    print("|---|---|---|" + "---|" * len(REMOVED))
    for row in rows:
        fall = row.deletion
        if np.isfinite(fall.p):
            cells = (f" {top:.2f}, {chance:.2f} |" for top, chance in zip(fall.top, fall.chance, strict=True))
            print(row.named + "".join(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=400)
    parser.add_argument("--noise", type=float, default=1.0, help="deviation of a tile's own noise (demo: 2)")
    parser.add_argument("--tissues", type=float, default=0.5, help="how far apart kinds of tissue lie (demo: 2)")
    parser.add_argument("--slides", type=int, default=20, help="slides of test patients to explain")
    parser.add_argument("--representation", choices=("slide", "fused"), default="slide", help="what heads read")
    parser.add_argument("--scans", type=Path, help="folder of slides with pixels, instead of features")
    parser.add_argument(
        "--contrast", type=float, default=1.0, help="how strongly factors show in their pixels (demo: 1)"
    )
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="these methods")
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS), help="these targets")
    parser.add_argument("--seed", type=int, default=0, help="of the simulation")
    parser.add_argument("--only", nargs="+", default=list(PRESETS), help="these presets")
    given = parser.parse_args()
    torch.set_num_threads(1)
    asked = Asked(given.slides, given.representation, given.methods, given.targets)
    rows: list[Row] = []
    print_head()
    for simulated in runs(given):
        for row in rows_of(simulated, asked):
            rows.append(row)
            print_row(row)
    print_curves(rows)
    print(json.dumps([row.as_json() for row in rows], allow_nan=True))


if __name__ == "__main__":
    main()
