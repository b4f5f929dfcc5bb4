"""Whether the genes that `mirror explain expression` names are those that a simulated factor sits in.

    python experiments/genes_true.py [--presets mirror alignment-only published] [--patients 400] [--seeds 0 1 2]
        [--representation fused]

The cohort of `simulate/cohort.py` with 20 genes for each of the four coordinates that show in the expression. A class
and the risk are of heads on the expression view, which carries the shared coordinate of each (README, the table of
R^2), or, with `--representation fused`, of heads on both modalities, whose tail carries the one that only expression
shows as well; the agreement is of both shared coordinates. Per preset and target, means over the seeds of the
simulation (for deletion and randomised weights: over their folds too):

* recall: the share of the planted genes of these coordinates among as many leading genes of the whole study; `both`
  always counts both coordinates that the expression shows of a class or the risk, `shared` the shared ones alone.
* deletion: AUROC, c-index or mean agreement of test patients as they are, and with as many leading genes (of that fold)
  at the training patients' mean as were planted, against 20 draws of as many other genes. Lower is better. Of a fused
  head it is the expression's part alone.
* randomised: rank correlation of the sizes of effects with those of the same head on a model of which one tensor, or
  all, have had their entries shuffled. All should be near 0.
* null: of 200 random sets of 20 other genes, the share with p below 0.05, signed and by size, and the number with q
  below 0.05; `planted q` is the largest q among the target's planted sets.

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from retention_proof import ROWS
from scipy.stats import spearmanr

from mirror.config import Config, resolve
from mirror.evaluation.metrics import c_index
from mirror.explain.enrichment import enrich
from mirror.explain.gene_sets import SetInPanel
from mirror.explain.gene_table import RunEffects, mean_null, summarise_effects
from mirror.explain.genes import Output, Profiles, contributions
from mirror.explain.null_heads import null_effects
from mirror.explain.targets import Target
from mirror.seeding import rng_for
from mirror.simulate.cohort import SimulationSizes, simulate_cohort
from mirror.simulate.planted_genes import planted_genes
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.embed import embed_run
from mirror.workflow.explain_expression import profiles_of
from mirror.workflow.explained import ExplainedRun, RunName, explained_run
from mirror.workflow.pretrain import pretrain_fold

PLANTED = 20
CARRIED = {
    "class:B": ("shared_subtype",),
    "risk": ("shared_survival",),
    "agreement": ("shared_subtype", "shared_survival"),
}
BOTH = {
    "class:B": ("shared_subtype", "expression_subtype"),
    "risk": ("shared_survival", "expression_survival"),
    "agreement": ("shared_subtype", "shared_survival"),
}
RANDOM_SETS, RANDOM_DELETIONS = 200, 20


def trained(folder: Path, preset: str, *, patients: int, seed: int) -> tuple[Config, list[ExplainedRun]]:
    """The runs of all folds of one simulated cohort."""
    simulate_cohort(folder, seed=seed, sizes=SimulationSizes(patients=patients, planted=PLANTED))
    content = yaml.safe_load((folder / "demo.yaml").read_text(encoding="utf-8"))
    content = {name: content[name] for name in ("name", "cohort")} | ROWS[preset] | {"output": f"run-{preset}"}
    config = resolve(content, where=folder / "demo.yaml")
    cohort = prepare_cohort(config)
    runs: list[ExplainedRun] = []
    for fold in cohort.folds:
        run = pretrain_fold(config, cohort, fold, config.seeds[0])
        embed_run(run, cohort, fold=fold, path=run.embeddings)
        runs.append(explained_run(config, cohort, RunName(config.seeds[0], fold.number)))
    return config, runs


def recall(leading: Iterable[str], wanted: set[str]) -> float:
    """The share of `wanted` among as many leading genes."""
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


def deletion(run: ExplainedRun, target: Target, effect: np.ndarray, count: int) -> dict[str, float]:
    """`as_is`, with the `leading` genes at the training mean, and with as many `random` others."""
    profiles, mean = profiles_of(run, target)
    output = Output(run.trained.model, target, profiles)

    def without(genes: np.ndarray) -> float:
        values = profiles.values.copy()
        values[:, genes] = mean.mean[genes]
        return quality(run, target, profiles, output.values(torch.from_numpy(values)))

    order = np.argsort(-np.abs(effect), kind="stable")
    rng = rng_for(0, "random deletions", run.name.fold)
    drawn = [without(rng.choice(order[count:], count, replace=False)) for _ in range(RANDOM_DELETIONS)]
    nothing = np.array([], dtype=np.intp)
    return {"as_is": without(nothing), "leading": without(order[:count]), "random": float(np.mean(drawn))}


def randomised(run: ExplainedRun, target: Target, effect: np.ndarray) -> dict[str, float]:
    """Tensor (and `all`) -> rank correlation of the sizes of effects."""
    profiles, mean = profiles_of(run, target)
    own = run.trained.model.state_dict()
    path = [name for name, tensor in own.items() if tensor.ndim > 1 and name.startswith(("expression_e", "gene_"))]
    path += [name for name, tensor in own.items() if tensor.ndim > 1 and name.startswith(("tail_", "expression_n"))]
    found: dict[str, float] = {}
    for names in (*([name] for name in path), path):
        model = copy.deepcopy(run.trained.model)
        state = model.state_dict()
        for name in names:
            order = torch.from_numpy(rng_for(0, "shuffled", name).permutation(state[name].numel()))
            state[name].copy_(state[name].flatten()[order].view_as(state[name]))
        again = contributions(model, target, profiles, mean).effect
        key = names[0] if len(names) == 1 else "all"
        found[key] = float(spearmanr(np.abs(effect), np.abs(again)).statistic) if np.abs(again).any() else 0.0
    return found


def study(preset: str, *, patients: int, seed: int, representation: str = "expression") -> list[dict[str, Any]]:
    """A line a target."""
    lines: list[dict[str, Any]] = []
    truth = planted_genes(PLANTED, genes=SimulationSizes().genes, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        _, runs = trained(Path(folder), preset, patients=patients, seed=seed)
        of_head = CARRIED if representation == "expression" else BOTH
        for name in of_head if representation == "expression" else ("class:B", "risk"):
            effects: list[RunEffects] = []
            nulls: list[tuple[int, tuple[str, ...], np.ndarray]] = []
            parts: list[dict[str, Any]] = []
            wanted, both, shared = (
                {gene for one in of[name] for gene in truth[one]} for of in (of_head, BOTH, CARRIED)
            )
            for run in runs:
                (target,) = run.targets([name], representation)
                profiles, mean = profiles_of(run, target)
                panel = run.trained.panel
                assert panel is not None
                given = contributions(run.trained.model, target, profiles, mean)
                effects.append(RunEffects(0, run.name.fold, panel.genes, given.effect, given.size, 0.5))
                null = null_effects(run.trained.model, target, profiles, mean, run.table, run.fold, seed=0)
                nulls.append((run.name.fold, panel.genes, null))
                deleted = deletion(run, target, given.effect, len(wanted))
                parts.append({**deleted, "shuffled": randomised(run, target, given.effect), "error": given.error})
            table = summarise_effects(name, effects)
            genes = tuple(table["gene"])
            found = {"recall": recall(genes, wanted), "both": recall(genes, both), "shared": recall(genes, shared)}
            about = {"preset": preset, "target": name, "method": given.method, "seed": seed, **found}
            null = mean_null(genes, nulls)
            place = {gene: row for row, gene in enumerate(genes)}
            sets = [SetInPanel(one, tuple(place[gene] for gene in truth[one]), ()) for one in of_head[name]]
            planted = enrich(table["effect"].to_numpy(), null, genes, sets)
            rng, others = rng_for(seed, "random sets"), [place[gene] for gene in genes if gene not in both]
            drawn = [tuple(rng.choice(others, PLANTED, replace=False).tolist()) for _ in range(RANDOM_SETS)]
            of_nothing = enrich(
                table["effect"].to_numpy(), null, genes, [SetInPanel(str(n), one, ()) for n, one in enumerate(drawn)]
            )
            shuffled = pd.DataFrame([part["shuffled"] for part in parts]).mean()
            lines.append(
                {
                    **about,
                    **{key: float(np.mean([part[key] for part in parts])) for key in ("as_is", "leading", "random")},
                    "error": max(part["error"] for part in parts),
                    "shuffled_all": float(shuffled["all"]),
                    "shuffled_one": {key: round(float(value), 3) for key, value in shuffled.items() if key != "all"},
                    "planted_q": max(one.q for one in planted),
                    "p_signed": float(np.mean([one.p_signed < 0.05 for one in of_nothing])),
                    "p_size": float(np.mean([one.p_size < 0.05 for one in of_nothing])),
                    "q_found": sum(one.q < 0.05 for one in of_nothing),
                }
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=list(ROWS))
    parser.add_argument("--patients", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--representation", choices=("expression", "fused"), default="expression")
    given = parser.parse_args()
    lines: list[dict[str, Any]] = []
    for preset in given.presets:
        for seed in given.seeds:
            found = study(preset, patients=given.patients, seed=seed, representation=given.representation)
            told = ", ".join(f"{one['target']} {one['recall']:.2f}" for one in found)
            print(f"{preset}, seed {seed}: recall {told}", flush=True)
            lines += found
    table = pd.DataFrame(lines).drop(columns=["shuffled_one"], errors="ignore")
    keys = ["preset", "target", "method"]
    mean = table.groupby(keys, sort=False).mean(numeric_only=True).drop(columns=["seed"]).reset_index()
    print(mean.round(3).to_string(index=False))
    print(json.dumps(lines))


if __name__ == "__main__":
    main()
