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
import copy
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr, wilcoxon
from simulated_presets import PRESETS, configuration
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import nn

from mirror.config import Config, load_config
from mirror.data.feature_store import FeatureStore
from mirror.data.places import tile_places
from mirror.errors import ConfigError
from mirror.evaluation.metrics import auroc
from mirror.explain.pattern import Seen, as_tiles_say
from mirror.explain.relevance import Method, Model, Subject, relevance, target_value
from mirror.explain.targets import AGREEMENT, EMBEDDING, Embedding, Target
from mirror.nn.canonical import CanonicalMirror
from mirror.seeding import generator_for, rng_for
from mirror.simulate.cohort import SimulationSizes, simulate_cohort
from mirror.simulate.planted import planted_share
from mirror.simulate.scans import simulate_scans
from mirror.slides.settings import load_extraction
from mirror.training.runs import run_folder
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.embed import embed_run
from mirror.workflow.explained import ExplainedRun, RunName, explained_run
from mirror.workflow.pretrain import pretrain_fold
from mirror.workflow.slides import extract_slides

Floats = NDArray[np.float64]
METHODS: tuple[Method, ...] = ("contributions", "pattern", "integrated-gradients", "attention-gradient", "attention")
TARGETS = ("class:B", "risk", AGREEMENT, EMBEDDING)
TOLD, OF_FACTOR = "told the truth", "pattern of the true factor"
REMOVED = (0.05, 0.1, 0.2, 0.4, 0.6)
"""Shares of the tiles that are taken out, along the deletion curve."""
TESTED = REMOVED.index(0.2)
DRAWS, PAIRS = 10, 60
LOOKED_AT = 60
"""Most slides of which tiles are removed, which takes a pass of the model for each draw."""
WHOLE = 0.9
"""Share of tumour from which on a tile is wholly tumour, and of anything else from which on it is wholly not."""


class Slide(NamedTuple):
    """A slide, how much of each of its tiles is tumour (T,), and the patient's factors by name."""

    subject: Subject
    share: Floats
    factors: pd.Series

    @property
    def planted(self) -> NDArray[np.bool_]:
        """Tiles that are tumour by half or more (T,)."""
        return self.share >= 0.5

    @property
    def whole(self) -> NDArray[np.bool_]:
        """Tiles that are hardly anything else than tumour, or hardly tumour (T,): all but those on its border."""
        return (self.share >= WHOLE) | (self.share <= 1 - WHOLE)

    def behind(self, target: str) -> float:
        """The factor behind a target, as far as it shows in slides; positive where there is more of the target."""
        return factor_behind(target, self.factors)


def factor_behind(target: str, factors: Any) -> Any:
    """Of a patient's factors by name, or of a table of many, the one behind a target as far as slides show it."""
    if target == AGREEMENT:  # more of the shared factor, in either direction, agrees more
        return np.hypot(factors["shared_subtype"], factors["shared_survival"])
    if target == EMBEDDING:  # whatever shows in slides
        return np.hypot(factor_behind("class:B", factors), factor_behind("risk", factors))
    part = "survival" if target == "risk" else "subtype"
    visible = factors[f"shared_{part}"] + factors[f"slide_{part}"]
    return -visible if target == "class:A" else visible


def trained(config: Config, *, fresh: bool) -> ExplainedRun:
    """The run of fold 0; trained and embedded first where it is not there."""
    cohort = prepare_cohort(config)
    if fresh:
        run = pretrain_fold(config, cohort, cohort.folds[0], config.seeds[0])
        embed_run(run, cohort, fold=cohort.folds[0], path=run.embeddings)
    return explained_run(config, cohort, RunName(config.seeds[0], cohort.folds[0].number))


def slides_of(run: ExplainedRun, folder: Path, count: int, *, half: Literal["train", "test"] = "test") -> list[Slide]:
    """The first slides of the patients of one half, by name."""
    truth = pd.read_csv(folder / "truth.csv", index_col="case_id")
    store, found = FeatureStore(run.cohort.paths), list[Slide]()
    for slide, patient in zip(run.cohort.slides["slide"], run.cohort.slides["patient"], strict=True):
        if patient in getattr(run.fold, half) and len(found) < count:
            bag = store.bag(slide)
            places = tile_places(bag)
            assert places is not None
            share = planted_share(folder, slide, places.coords, places.side)
            subject = Subject(bag.read(), run.profiles.get(patient), run.mean_tile)
            if (share >= WHOLE).any() and (share <= 1 - WHOLE).any():
                found.append(Slide(subject, share, truth.loc[patient]))
    return found


def planted(slides: Iterable[Slide], target: str | None, found: Iterable[Floats], *, whole: bool = False) -> float:
    """Mean AUROC of relevance for planted tiles over the slides that carry the factor; of `whole` tiles alone."""
    areas = list[float]()
    for slide, values in zip(slides, found, strict=True):
        factor = 1.0 if target is None else slide.behind(target)
        if abs(factor) >= 1.0:
            scores = np.stack([-values, values], axis=1) * np.sign(factor)
            some = slide.whole if whole else np.ones_like(slide.planted)
            areas.append(auroc(slide.planted[some].astype(int), scores[some]))
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


def ceiling(train: list[Slide], slides: list[Slide], target: str) -> tuple[float, float]:
    """`planted`, of all tiles and of whole ones, of a linear ranking of tiles that is told all of training slides."""
    rng, pairs = rng_for(0, "pairs"), list[Floats]()
    scale = StandardScaler().fit(np.concatenate([slide.subject.tiles_TD for slide in train]))
    for slide in train:
        factor, tiles = slide.behind(target), scale.transform(slide.subject.tiles_TD)
        if abs(factor) >= 1.0:
            inside, outside = (
                rng.choice(np.flatnonzero(one), PAIRS) for one in (slide.share >= WHOLE, slide.share <= 1 - WHOLE)
            )
            pairs.append(np.sign(factor) * (tiles[inside] - tiles[outside]))
    x = np.concatenate([*pairs, *(-one for one in pairs)])
    y = np.repeat([1, 0], len(x) // 2)
    found: list[tuple[float, float]] = []
    for penalty in (1e-4, 1e-3, 1e-2, 1e-1):
        ranking = LogisticRegression(C=penalty, fit_intercept=False, max_iter=2000).fit(x, y).coef_[0]
        scores = [scale.transform(slide.subject.tiles_TD) @ ranking for slide in slides]
        found.append((planted(slides, target, scores), planted(slides, target, scores, whole=True)))
    return max(found)


def cascade(
    run: ExplainedRun,
    slides: list[Slide],
    target: Target | None,
    method: Method,
    first: list[Floats],
    seen: Seen,
    said: dict[int, dict[str, Any]] | None = None,
) -> Floats:
    """Mean absolute rank correlation with `first` after each further layer is drawn anew. `said` keeps what is the same
    for all targets: what the model says of training patients after each layer."""
    said = {} if said is None else said
    model = copy.deepcopy(run.trained.model)
    left: list[float] = []
    for number, (_, draw) in enumerate(layers(model)):
        draw(model, generator_for(0, "cascade", number))
        if method == "pattern":
            if number not in said:
                said[number] = said_of(run, model, seen.fitted_on)
            seen = replace(seen, **said[number])
        if isinstance(target, Embedding):
            target = Embedding.of(seen.views["X_slide"].double().numpy(), target.fitted_on)
        again = [relevance(model, slide.subject, target, method, seen=seen).values for slide in slides]
        left.append(float(np.mean([_same(one, other) for one, other in zip(first, again, strict=True)])))
    return np.array(left)


@torch.no_grad()
def said_of(run: ExplainedRun, model: Model, patients: Sequence[str]) -> dict[str, Any]:
    """`views` and `expression` of `Seen` as a model says them, the mean over slides of each patient."""
    store, owners = FeatureStore(run.cohort.paths), run.cohort.owners
    rows: list[torch.Tensor] = []
    for patient in patients:
        own = [store.bag(slide).read() for slide, owner in owners.items() if owner == patient]
        rows.append(torch.cat([model.embed_slide(torch.from_numpy(tiles)[None]) for tiles in own]).mean(dim=0))
    expression = run._replace(trained=replace(run.trained, model=model)).expression_of(patients)
    return {"views": model.views(torch.stack(rows), expression), "expression": expression}


def _same(one: Floats, other: Floats) -> float:
    return 0.0 if np.ptp(other) == 0 or np.ptp(one) == 0 else abs(float(spearmanr(one, other).statistic))


class Deletion(NamedTuple):
    """What a target loses without the shares `REMOVED` of its top tiles, and without as many random ones, in standard
    deviations of it; and the p of the former being more, at the share that is tested."""

    top: Floats
    chance: Floats
    p: float


NOTHING_REMOVED = Deletion(*(np.full(len(REMOVED), np.nan) for _ in range(2)), float("nan"))


def removed(model: Model, slides: list[Slide], target: Target, found: list[Floats]) -> Deletion:
    """The deletion curve of a target, mean over slides."""
    rng = rng_for(0, "removed")
    top, chance, values = list[list[float]](), list[Floats](), list[float]()
    for slide, scores in zip(slides, found, strict=True):
        subject = slide.subject
        whole = target_value(model, subject, target)
        counts = [max(1, round(share * len(scores))) for share in REMOVED]

        def losses(
            order: NDArray[np.intp], subject: Subject = subject, whole: float = whole, counts: list[int] = counts
        ) -> list[float]:
            left = (subject._replace(tiles_TD=np.delete(subject.tiles_TD, order[:count], axis=0)) for count in counts)
            return [whole - target_value(model, some, target) for some in left]

        values.append(whole)
        top.append(losses(np.argsort(-scores)))
        chance.append(np.mean([losses(rng.permutation(len(scores))) for _ in range(DRAWS)], axis=0))
    more = (np.array(top) - np.array(chance))[:, TESTED]
    p = float(wilcoxon(more, alternative="greater").pvalue) if more.any() else 1.0
    return Deletion(np.mean(top, axis=0) / np.std(values), np.mean(chance, axis=0) / np.std(values), p)


def rows_of(
    name: str,
    run: ExplainedRun,
    folder: Path,
    count: int,
    representation: str,
    methods: Iterable[Method] = METHODS,
    wanted: Sequence[str] = TARGETS,
) -> Iterator[dict[str, Any]]:
    """Every method and target of one preset, and the ceiling of each target."""
    model, slides, seen = run.trained.model, slides_of(run, folder, count), run.seen()
    train = slides_of(run, folder, 10**6, half="train")
    truth = pd.read_csv(folder / "truth.csv", index_col="case_id").loc[list(seen.fitted_on)]
    heads = run.targets([name for name in TARGETS[:2] if name in wanted], representation)
    targets = [*heads, *run.targets([name for name in TARGETS[2:] if name in wanted], "slide")]
    for target in heads:  # the agreement has a direction of its own for every patient, which no ranking has
        nothing = {"random": [], "deletion": NOTHING_REMOVED}
        every, whole = ceiling(train, slides, target.name)
        about = {"preset": name, "method": TOLD, "target": target.name}
        yield {**about, "planted": every, "planted_whole": whole, **nothing}
        factor = factor_behind(target.name, truth).to_numpy()
        found = [as_tiles_say(slide.subject.tiles_TD, seen, factor) for slide in slides]
        whole = planted(slides, target.name, found, whole=True)
        about = {**about, "method": OF_FACTOR}
        yield {**about, "planted": planted(slides, target.name, found), "planted_whole": whole, **nothing}
    said = dict[int, dict[str, Any]]()
    for method in methods:
        for target in [None] if method == "attention" else targets:
            alone = target is None or target.representation == "slide"
            some = [slide for slide in slides if alone or slide.subject.profile_G is not None]
            try:
                found = [relevance(model, slide.subject, target, method, seen=seen).values for slide in some]
            except ConfigError:  # it says nothing of this target in this model
                continue
            named = None if target is None else target.name
            left = cascade(run, some[:5], target, method, found[:5], seen, said)
            known = target is not None
            lost = removed(model, some[:LOOKED_AT], target, found[:LOOKED_AT]) if known else NOTHING_REMOVED
            yield {
                "preset": name, "method": method, "target": named or "-", "planted": planted(some, named, found),
                "planted_whole": planted(some, named, found, whole=True),
                "random": left.tolist(), "deletion": lost,
            }  # fmt: skip


def simulated_scans(folder: Path, *, seed: int, patients: int, contrast: float) -> None:
    """Slides with pixels, simulated and extracted where they are not there yet."""
    if not (folder / "demo.yaml").exists():
        simulate_scans(folder, seed=seed, sizes=SimulationSizes(patients=patients), contrast=contrast)
    if not (folder / "extracted" / "slides.jsonl").exists():
        extract_slides(load_extraction(folder / "slides.yaml"))


def scanned(folder: Path, name: str = "mirror") -> ExplainedRun:
    """The run of fold 0 of slides with pixels, of the preset `name`; trained where it is not there yet."""
    config = load_config(folder / "demo.yaml") if name == "mirror" else configuration(folder, name)
    fresh = not run_folder(config.output, seed=config.seeds[0], fold=0).embeddings.exists()
    return trained(config, fresh=fresh)


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
    lines: list[dict[str, Any]] = []
    how = given.slides, given.representation, given.methods, given.targets
    print(
        "| preset | method | target | planted | whole | random, layer by layer | removed: top | removed: random | p |"
    )
    print("|---|---|---|---|---|---|---|---|---|", flush=True)

    def add(name: str, run: ExplainedRun, folder: Path) -> None:
        for line in rows_of(name, run, folder, *how):
            lines.append(line)
            left = " ".join(f"{one:.2f}" for one in line["random"])
            planted_in = f"{line['planted']:.3f} | {line['planted_whole']:.3f}"
            fall: Deletion = line["deletion"]
            lost = f"{fall.top[TESTED]:.2f} | {fall.chance[TESTED]:.2f} | {fall.p:.2g}"
            print(
                f"| {name} | {line['method']} | {line['target']} | {planted_in} | {left} | {lost} |",
                flush=True,
            )

    if given.scans is not None:
        simulated_scans(given.scans, seed=given.seed, patients=given.patients, contrast=given.contrast)
        for name in given.only:
            add(f"{name}, scans", scanned(given.scans, name), given.scans)
    else:
        sizes = SimulationSizes(patients=given.patients, tile_noise=given.noise, tissue_spread=given.tissues)
        with tempfile.TemporaryDirectory() as place:
            simulate_cohort(Path(place), seed=given.seed, sizes=sizes)
            for name in given.only:
                add(name, trained(configuration(Path(place), name), fresh=True), Path(place))
    print_curves(lines)
    print(json.dumps([{**line, "deletion": _plain(line["deletion"])} for line in lines], allow_nan=True))


def print_curves(lines: Sequence[dict[str, Any]]) -> None:
    """What top tiles cost, and random ones, by the share of the tiles that is removed."""
    print("\n| preset | method | target |" + "".join(f" {share:.0%} |" for share in REMOVED))
    print("|---|---|---|" + "---|" * len(REMOVED))
    for line in lines:
        fall: Deletion = line["deletion"]
        if np.isfinite(fall.p):
            cells = (f" {top:.2f}, {chance:.2f} |" for top, chance in zip(fall.top, fall.chance, strict=True))
            print(f"| {line['preset']} | {line['method']} | {line['target']} |" + "".join(cells))


def _plain(fall: Deletion) -> dict[str, Any]:
    return {"top": fall.top.tolist(), "random": fall.chance.tolist(), "p": fall.p}


if __name__ == "__main__":
    main()
