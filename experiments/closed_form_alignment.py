"""Alignment in closed form: canonical correlation between mean tile and expression. Nothing is trained by gradients.

    python experiments/closed_form_alignment.py configs/brca.yaml configs/coadread.yaml configs/blca.yaml

Per fold, all of it is fitted on training patients: what is of one modality on those who have it, what couples the two
on the n who have both (pairs). k components, G genes.

    s     mean over a slide's tiles, then over a patient's slides, in the encoder's units
    g     asinh((x - median) / max(IQR / 1.35, 1e-3)), gene by gene; x in the units of its table, g has none
    z_m   (k) leading principal components of standardised s, of standardised g, each of variance one
    C_m = (1 - l) Z_m'Z_m / n + l tr(Z_m'Z_m / n) I / k, l = 0.1
    U diag(rho) V' = svd(C_s^-1/2 (Z_s'Z_g / n) C_g^-1/2);   a = rho U'C_s^-1/2 z_s,   b = rho V'C_g^-1/2 z_g
    slide = Q'[a / |a|, w z_s / |z_s|],   expression = Q'[b / |b|, w z_g / |z_g|]

|.| is the root mean squared length over training patients, w the weight of the private block (--private), rho the
training correlations in [0, 1], inflated by the fit. Where every training patient is a pair, C = I and the ridge does
nothing: k alone regularises; the training covariance then has the eigenvalues rho_j^2 / sum rho^2 + w^2 / k, and zeros.
Q is a random rotation: probes standardise columns, which would undo the weights rho; rotated, all columns vary about
alike, so standardising is nearly one common factor, and inner products stay. Scores are means over --rotations draws of
Q. k is 32 above 500 training pairs, else 16: found by scratch runs on COADREAD folds 0 and 1, test patients included.
A table has means over folds ± standard deviation, below them paired differences over folds ± standard error to what is
free: raw_slide, raw_expression, or the fused baseline of the best mean, chosen on these very folds and so flattered.
Recall@10: a held-out patient's own b is among the ten of largest cosine with its a. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mirror.config import Config, load_config
from mirror.data.cohort import Cohort
from mirror.data.feature_store import FeatureStore
from mirror.evaluation.metrics import Floats
from mirror.evaluation.protocols import evaluate_fold
from mirror.evaluation.representations import Block, PatientTable, fit_representation
from mirror.evaluation.scores import RunOrigin, score_table, summarise
from mirror.seeding import rng_for
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.patient_table import patient_table

SHRINKAGE = 0.1
NARROW, WIDE, MANY_PAIRS = 16, 32, 500
FREE = {"slide": "raw_slide", "expression": "raw_expression", "fused": ""}  # that of fused: the best by its mean


@dataclass(frozen=True, slots=True)
class ClosedForm:
    """What one fold gave: centre and spread (G,) of genes; of slide and expression the whitening and what takes its k
    components to shared and private columns (k, r + k); the correlations `rho` (r,), falling; the number of pairs."""

    centre: Floats
    spread: Floats
    blocks: tuple[Block, ...]
    axes: tuple[Floats, ...]
    rho: Floats
    pairs: int

    def embed(self, table: PatientTable) -> list[Floats]:
        """Slide and expression (N, r + k) before rotation, the r shared columns first; NaN without the modality."""
        genes = squash(table, self.centre, self.spread)
        sides = zip(self.blocks, self.axes, strict=True)
        return [block.transform(genes.views[block.view]) @ axes for block, axes in sides]


def squash(table: PatientTable, centre: Floats, spread: Floats) -> PatientTable:
    """`table` with asinh-transformed genes as its raw expression."""
    genes = np.arcsinh((table.views["raw_expression"] - centre) / spread)
    return replace(table, views={**table.views, "raw_expression": genes})


def fit_closed_form(
    table: PatientTable, train: NDArray[np.intp], *, private: float, components: int | None = None
) -> ClosedForm:
    """Fit on the rows `train` of a table with raw views; k is `components` (the rank where that is less) or goes by the
    number of pairs. Raises `DataError` when no training patient has a modality."""
    x = table.views["raw_expression"][train]
    has_expression = ~np.isnan(x).all(axis=1)
    low, centre, high = np.nanquantile(x[has_expression], (0.25, 0.5, 0.75), axis=0)
    spread = np.maximum((high - low) / 1.35, 1e-3)  # 1.35 deviations: the interquartile range of a normal
    paired = has_expression & ~np.isnan(table.views["raw_slide"][train]).any(axis=1)
    wanted = components or (WIDE if paired.sum() > MANY_PAIRS else NARROW)
    genes = squash(table, centre, spread)
    blocks = fit_representation(f"pca{wanted}_fused", genes, train).blocks
    z = [block.transform(genes.views[block.view][train]) for block in blocks]
    roots = [inverse_root(part[paired]) for part in z]
    coupling = z[0][paired].T @ z[1][paired] / paired.sum()
    u, rho, vt = np.linalg.svd(roots[0] @ coupling @ roots[1], full_matrices=False)
    rho = np.minimum(rho, 1.0)
    axes = list[Floats]()
    for part, root, directions in zip(z, roots, (u, vt.T), strict=True):
        shared = root @ directions * rho
        own = part[~np.isnan(part).any(axis=1)]
        axes.append(np.hstack([shared / rms_length(own @ shared), private * np.eye(len(root)) / rms_length(own)]))
    return ClosedForm(centre, spread, blocks, tuple(axes), rho, int(paired.sum()))


def inverse_root(z: Floats) -> Floats:
    """(k, k) symmetric inverse square root of the shrunk second moment of `z` (n, k)."""
    moment = z.T @ z / len(z)
    shrunk = (1 - SHRINKAGE) * moment + SHRINKAGE * np.trace(moment) / len(moment) * np.eye(len(moment))
    values, vectors = np.linalg.eigh(shrunk)
    return vectors / np.sqrt(values) @ vectors.T


def rms_length(rows: Floats) -> float:
    return float(np.sqrt((rows**2).sum(axis=1).mean()))


def rotate(x: Floats, *, seed: int) -> Floats:
    """`x` (N, D) times an orthogonal matrix that depends on `seed` and D alone, so modalities stay comparable."""
    return x @ np.linalg.qr(rng_for(seed, "rotation", x.shape[1]).standard_normal((x.shape[1], x.shape[1])))[0]


def recall(slide: Floats, expression: Floats, *, at: int = 10) -> float:
    """Share of rows whose own `expression` is among the `at` that have the largest cosine with `slide`, both (n, r)."""
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (slide, expression))
    cosine = a @ b.T
    return float(((cosine > np.diag(cosine)[:, None]).sum(axis=1) < at).mean())


def raw_table(cohort: Cohort) -> PatientTable:
    """The product's table of patients, mean tiles standing in for the embeddings that each fold brings."""
    store = FeatureStore(cohort.paths, keep_open=1)
    means = np.stack([store.bag(slide).read().mean(axis=0) for slide in cohort.slides["slide"]])
    embeddings = anndata.AnnData(obs=cohort.slides.set_index("slide")[["patient"]])
    for view in ("X_slide", "X_expression", "X_raw_slide"):
        embeddings.obsm[view] = means
    return patient_table(cohort, embeddings)


def study(config: Config, *, private: float, components: int | None, rotations: int) -> list[pd.DataFrame]:
    """Scores of every fold of a cohort, and what each fold's fit was, one row a fold."""
    cohort = prepare_cohort(config)
    table = raw_table(cohort)
    scores, fits = list[pd.DataFrame](), list[dict[str, float]]()
    for fold in cohort.folds:
        form = fit_closed_form(table, table.rows(sorted(fold.train)), private=private, components=components)
        slide, expression = form.embed(table)
        for seed in range(rotations):
            views = {**table.views, "slide": rotate(slide, seed=seed), "expression": rotate(expression, seed=seed)}
            names = None if seed == 0 else tuple(FREE)  # what is free is not rotated: once is enough
            result = evaluate_fold(replace(table, views=views), fold, config.evaluation, seed=0, representations=names)
            scores.append(score_table(result.scores, RunOrigin(config.name, fold.number, seed, "closed form")))
        a, b = (x[table.rows(fold.test), : len(form.rho)] for x in (slide, expression))
        both = ~np.isnan(np.hstack([a, b])).any(axis=1)
        found = {"pairs": form.pairs, "k": len(form.rho), "largest rho": form.rho[0], "test pairs": both.sum()}
        fits.append({**found, "recall@10": recall(a[both], b[both]), "by chance": min(1.0, 10 / both.sum())})
    return [pd.concat(scores, ignore_index=True), pd.DataFrame(fits)]


def print_study(name: str, scores: pd.DataFrame, fits: pd.DataFrame, *, shots: int | None) -> dict[str, Any]:
    """Print a cohort's table and fits; return their means for JSON."""
    title, result = f"| {name} |", {"fits": fits.mean().round(4).to_dict()}
    rows: dict[str, list[str]] = {one: [] for one in scores["representation"].unique()}
    for protocol, metric in (("linear", "auroc"), (f"shot{shots}", "auroc"), ("cox", "c_index")):
        own = scores[(scores["protocol"] == protocol) & (scores["metric"] == metric)]
        if own.empty:
            continue
        title += f" {protocol} {metric} |"
        for line in summarise(own).to_dict("records"):
            rows[line["representation"]].append(f"{line['mean']:.3f} ± {line['sd']:.3f}")
        by_fold = own.pivot_table(index="fold", columns="representation", values="value")
        means = by_fold.mean()
        result[f"{protocol} {metric}"] = means.round(4).to_dict()
        for one, free in FREE.items():
            against = free or str(means.filter(like="_fused").idxmax())
            gap = by_fold[one] - by_fold[against]
            rows.setdefault(f"{one} - free", []).append(f"{gap.mean():+.3f} ± {gap.sem():.3f} ({against})")
            result[f"{protocol} {metric}"][f"{one} - {against}"] = gap.agg(["mean", "sem"]).round(4).tolist()
    print(f"{title}\n|{'---|' * title.count(' |')}")
    print("\n".join(f"| {one} | {' | '.join(cells)} |" for one, cells in rows.items()))
    print(f"\n{fits.round(3).to_string()}\n", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="+", type=Path)
    parser.add_argument("--private", type=float, default=0.3, help="weight w of the private block (0: none)")
    parser.add_argument("--components", type=int, help="k for every cohort (else by its number of pairs)")
    parser.add_argument("--rotations", type=int, default=5)
    given = parser.parse_args()
    results: dict[str, Any] = {}
    for config in map(load_config, given.configs):
        scores, fits = study(config, private=given.private, components=given.components, rotations=given.rotations)
        results[config.name] = print_study(config.name, scores, fits, shots=config.evaluation.foremost_shots)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
