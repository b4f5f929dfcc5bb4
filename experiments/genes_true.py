"""Whether the genes that `mirror explain expression` names are those that a simulated factor sits in.

    python experiments/genes_true.py [--presets mirror alignment-only published] [--patients 400] [--seeds 0 1 2]
        [--representations expression fused] [--keep FOLDER]

The cohort of `simulate/cohort.py` with 20 genes for each of the four coordinates that show in the expression. A class
and the risk are of heads on the expression alone, or with `fused` of heads on both modalities; the agreement is of
both shared coordinates. `--keep` leaves cohorts and trained models in a folder, where a second call finds them. Per
preset and target, means over the seeds of the simulation (for deletion and randomised weights: over their folds too):

* carries: correlation of what the expression adds to the head's output with the truth, of the coordinate that both
  modalities share and of the one that only expression shows; over test patients.
* recall: of the planted genes of the coordinates that the output carries (a correlation of at least 0.2), the share
  among as many leading genes of the whole study. What an output does not carry cannot be read off it; `both` counts the
  genes of both coordinates all the same.
* deletion: AUROC, c-index or mean agreement of test patients as they are, and with as many leading genes (of that fold)
  at the training patients' mean as were planted, against 20 draws of as many other genes. Lower is better. Of a fused
  head it is the expression's part alone.
* randomised: rank correlation of the sizes of effects with those of the same head on a model of which one tensor, or
  all, have had their entries shuffled. All should be near 0.
* null: of 200 random sets of 20 genes of the panel, the share with p below 0.05, signed and by size, and the number
  with q below 0.05; `planted q` is the largest q among the target's planted sets, tested beside those.

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata
from simulated_presets import PRESETS, SHOWN, configuration

from mirror.evaluation.metrics import Floats, c_index
from mirror.explain.enrichment import enrich
from mirror.explain.gene_sets import SetInPanel
from mirror.explain.gene_table import RunEffects, mean_null, summarise_effects
from mirror.explain.genes import GeneContributions, Output, Profiles, Reference, contributions, head_effects
from mirror.explain.null_effects import null_effects
from mirror.explain.relevance import Model
from mirror.explain.targets import Agreement, Target
from mirror.seeding import rng_for
from mirror.simulate.cohort import SimulationSizes, simulate_cohort
from mirror.simulate.planted_genes import planted_genes
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.embed import embed_run
from mirror.workflow.explain_expression import Representation, profiles_of
from mirror.workflow.explained import ExplainedRun, RunName, explained_run
from mirror.workflow.pretrain import pretrain_fold

PLANTED = 20
COORDINATES = {
    "class:B": ("shared_subtype", "expression_subtype"),
    "risk": ("shared_survival", "expression_survival"),
    "agreement": ("shared_subtype", "shared_survival"),
}
"""Of each target those that show in the expression."""
CARRIED = 0.2
"""Least correlation of an output with a coordinate that it carries."""
RANDOM_SETS, RANDOM_DELETIONS = 200, 20


class Trained(NamedTuple):
    """The runs of all folds of one simulated cohort, and the true coordinates of its patients."""

    runs: list[ExplainedRun]
    truth: pd.DataFrame


def trained(folder: Path, preset: str, *, patients: int, seed: int) -> Trained:
    """Simulate a cohort in `folder` and train on it, as far as that has not been done there."""
    if not (folder / "truth.csv").exists():
        simulate_cohort(folder, seed=seed, sizes=SimulationSizes(patients=patients, planted=PLANTED))
    config = configuration(folder, preset)
    cohort = prepare_cohort(config)
    runs: list[ExplainedRun] = []
    for fold in cohort.folds:
        run = pretrain_fold(config, cohort, fold, config.seeds[0])
        if not run.embeddings.exists():
            embed_run(run, cohort, fold=fold, path=run.embeddings)
        runs.append(explained_run(config, cohort, RunName(config.seeds[0], fold.number)))
    return Trained(runs, pd.read_csv(folder / "truth.csv", index_col="case_id"))


def recall(leading: Iterable[str], wanted: set[str]) -> float:
    """The share of `wanted` among as many leading genes; NaN where nothing is wanted."""
    if not wanted:
        return float("nan")
    return len(wanted & set(list(leading)[: len(wanted)])) / len(wanted)


def quality(run: ExplainedRun, target: Target, profiles: Profiles, value: np.ndarray) -> float:
    """AUROC, c-index or mean, of a target's values for test patients."""
    rows = run.table.rows(profiles.patients)
    if target.name == "risk":
        known = ~np.isnan(run.table.time[rows])
        return c_index(run.table.time[rows][known], run.table.event[rows][known], value[known])
    if target.name == "agreement":
        return float(value.mean())
    positive = np.array([run.table.labels[row] == target.name.removeprefix("class:") for row in rows])
    greater = value[positive][:, None] - value[~positive]
    return float((greater > 0).mean() + (greater == 0).mean() / 2)


def deletion(found: Found, count: int) -> dict[str, float]:
    """`as_is`, with the `count` leading genes at the training mean (`leading`), and with as many others (`random`)."""
    run, target, profiles, mean, given = found
    output = Output(run.trained.model, target, profiles)

    def without(genes: np.ndarray) -> float:
        values = profiles.values.copy()
        values[:, genes] = mean.mean[genes]
        return quality(run, target, profiles, output.values(torch.from_numpy(values)))

    order = np.argsort(-np.abs(given.effect), kind="stable")
    rng = rng_for(0, "random deletions", run.name.fold)
    drawn = [without(rng.choice(order[count:], count, replace=False)) for _ in range(RANDOM_DELETIONS)]
    nothing = np.array([], dtype=np.intp)
    return {"as_is": without(nothing), "leading": without(order[:count]), "random": float(np.mean(drawn))}


def randomised(found: Found) -> dict[str, float]:
    """Tensor (and `all`) -> rank correlation of the sizes of effects."""
    run, target, profiles, mean, given = found
    own = run.trained.model.state_dict()
    path = [name for name, tensor in own.items() if tensor.ndim > 1 and name.startswith(("expression_e", "gene_"))]
    path += [name for name, tensor in own.items() if tensor.ndim > 1 and name.startswith(("tail_", "expression_n"))]
    sizes: Floats = np.abs(given.effect)
    shuffled: dict[str, float] = {}
    for names in (*([name] for name in path), path):
        model = copy.deepcopy(run.trained.model)
        state = model.state_dict()
        for name in names:
            order = torch.from_numpy(rng_for(0, "shuffled", name).permutation(state[name].numel()))
            state[name].copy_(state[name].flatten()[order].view_as(state[name]))
        again: Floats = np.abs(effect_of(model, target, profiles, mean))
        correlation = float(np.corrcoef(rankdata(sizes), rankdata(again))[0, 1]) if again.any() else 0.0
        shuffled[names[0] if len(names) == 1 else "all"] = correlation
    return shuffled


def effect_of(model: Model, target: Target, profiles: Profiles, mean: Reference) -> np.ndarray:
    """`GeneContributions.effect`, of a head without its contributions."""
    if isinstance(target, Agreement):
        return contributions(model, target, profiles, mean).effect
    return head_effects(Output(model, target, profiles), profiles, mean)


class Found(NamedTuple):
    """Of one run and target what `contributions` says, and of whom."""

    run: ExplainedRun
    target: Target
    profiles: Profiles
    mean: Reference
    given: GeneContributions

    @property
    def genes(self) -> tuple[str, ...]:
        assert self.run.trained.panel is not None
        return self.run.trained.panel.genes

    def carries(self, truth: pd.DataFrame) -> list[float]:
        """Correlation of what the expression adds with the target's coordinates, over test patients."""
        added = self.given.value - self.given.at_mean
        known = truth.loc[list(self.given.patients)]
        return [float(np.corrcoef(added, known[name])[0, 1]) for name in COORDINATES[self.target.name]]


def explained(run: ExplainedRun, target: Target) -> Found:
    profiles, mean = profiles_of(run, target)
    return Found(run, target, profiles, mean, contributions(run.trained.model, target, profiles, mean))


def line(found: Sequence[Found], truth: pd.DataFrame, *, seed: int) -> dict[str, Any]:
    """What the folds of one target come to."""
    name, coordinates = found[0].target.name, COORDINATES[found[0].target.name]
    planted = planted_genes(PLANTED, genes=SimulationSizes().genes, seed=seed)
    carried = np.mean([one.carries(truth) for one in found], axis=0)
    # The agreement is of both by what it is; its value, a cosine, rises and falls with neither.
    least = 0.0 if name == "agreement" else CARRIED
    there = [one for one, much in zip(coordinates, np.abs(carried), strict=True) if much >= least]
    wanted, both = ({gene for one in of for gene in planted[one]} for of in (there, coordinates))
    effects = [RunEffects(0, one.run.name.fold, one.genes, one.given.effect, one.given.size, 0.5) for one in found]
    table = summarise_effects(name, effects)
    genes, effect = tuple(table["gene"]), table["effect"].to_numpy()
    nulls = [null_effects(one.run.trained.model, *one[1:4], fold=one.run.name.fold, seed=0) for one in found]
    null = mean_null(genes, [(one.run.name.fold, one.genes, drawn) for one, drawn in zip(found, nulls, strict=True)])
    place = {gene: row for row, gene in enumerate(genes)}
    sets = [SetInPanel(one, tuple(place[gene] for gene in planted[one]), ()) for one in there]
    rng = rng_for(seed, "random sets")
    drawn = [tuple(rng.choice(len(genes), PLANTED, replace=False).tolist()) for _ in range(RANDOM_SETS)]
    sets += [SetInPanel(str(number), one, ()) for number, one in enumerate(drawn)]
    enriched = enrich(effect, null, genes, sets)
    of_planted, of_nothing = enriched[: len(there)], enriched[len(there) :]
    shuffled = pd.DataFrame([randomised(one) for one in found]).mean()
    deleted = [deletion(one, len(wanted)) for one in found]
    return {
        "method": found[0].given.method,
        "carries": np.round(carried, 2).tolist(),
        "recall": recall(genes, wanted),
        "both": recall(genes, both),
        **{key: float(np.mean([part[key] for part in deleted])) for key in ("as_is", "leading", "random")},
        "error": max(one.given.error for one in found),
        "shuffled_all": float(shuffled["all"]),
        "shuffled_one": {key: round(float(value), 3) for key, value in shuffled.items() if key != "all"},
        "planted_q": max((one.q for one in of_planted), default=float("nan")),
        "p_signed": float(np.mean([one.p_signed < 0.05 for one in of_nothing])),
        "p_size": float(np.mean([one.p_size < 0.05 for one in of_nothing])),
        "q_found": sum(one.q < 0.05 for one in of_nothing),
    }


def study(
    preset: str,
    *,
    patients: int,
    seed: int,
    representation: Representation = "expression",
    targets: Sequence[str] = tuple(COORDINATES),
    keep: Path | None = None,
) -> list[dict[str, Any]]:
    """A line a target; of both modalities the agreement is the same as of the expression, and is left out."""
    names = [name for name in targets if representation == "expression" or name != "agreement"]
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder) if keep is None else keep / f"patients{patients}-seed{seed}"
        runs, truth = trained(where, preset, patients=patients, seed=seed)
        lines: list[dict[str, Any]] = []
        for name in names:
            found = [explained(run, target) for run in runs for target in run.targets([name], representation)]
            about = {"preset": preset, "target": name, "reads": representation, "seed": seed}
            lines.append({**about, **line(found, truth, seed=seed)})
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", choices=list(PRESETS), default=list(SHOWN))
    parser.add_argument("--patients", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--targets", nargs="+", choices=list(COORDINATES), default=list(COORDINATES))
    parser.add_argument(
        "--representations", nargs="+", choices=("expression", "fused"), default=["expression", "fused"]
    )
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    lines: list[dict[str, Any]] = []
    for preset in given.presets:
        for seed in given.seeds:
            for reads in given.representations:
                about: dict[str, Any] = {"representation": reads, "targets": given.targets, "keep": given.keep}
                found = study(preset, patients=given.patients, seed=seed, **about)
                told = ", ".join(f"{one['target']} {one['recall']:.3f} {one['carries']}" for one in found)
                print(f"{preset}, {reads}, seed {seed}: recall (carries) {told}", flush=True)
                lines += found
    table = pd.DataFrame(lines).drop(columns=["shuffled_one", "carries"])
    keys = ["preset", "reads", "target", "method"]
    mean = table.groupby(keys, sort=False).mean(numeric_only=True).drop(columns=["seed"]).reset_index()
    print(mean.round(3).to_string(index=False))
    print(json.dumps(lines))


if __name__ == "__main__":
    main()
