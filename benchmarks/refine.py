"""Recursive feature elimination: ours against scikit-learn's RFECV on a real transcriptome, one thread each.

    python benchmarks/refine.py                    # about ten minutes, nearly all of them scikit-learn's
    python benchmarks/refine.py --features 2000    # the first 2,000 genes only
    python benchmarks/refine.py --literal          # also RFECV itself, not rotated, at a tight tolerance: an hour
    python benchmarks/refine.py --simulate         # 1,000 samples x 197,044 transcripts, ours alone, two threads

scikit-learn's solver stops at a tolerance (1e-4, or 1,000 sweeps) and draws the order of samples at random; ours solves
to rounding. To show that what differs comes from there, RFECV runs again at tighter tolerances on rotated features: a
linear machine and its dual coordinate descent see inner products of samples only, so the same liblinear on the
samples' own coordinates (X = R'Q', fitted on R', coefficients turned back by Q) walks the same path, far cheaper.
That the rotation is faithful is seen in its row at the default tolerance, which differs from ours as RFECV's own does
(to the last digit only where the solver converged: stopped short, it magnifies rounding).
Seconds are of the wall; those of the processor stand beside them, for machines that others share.
The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import RFECV
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits

from mirror.data.elimination import Elimination, eliminate

EXPRESSION = Path(__file__).resolve().parents[2] / "shared" / "expression"
DEFAULT = (1e-4, 1_000)  # tolerance, most sweeps
TIGHTER = ((1e-6, 1_000_000), (1e-8, 1_000_000), (1e-10, 1_000_000))


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds, by the wall and of the processor."""

    wall: float
    processor: float

    @classmethod
    def now(cls) -> Clock:
        return cls(time.perf_counter(), time.process_time())

    def elapsed(self) -> Clock:
        return Clock(time.perf_counter() - self.wall, time.process_time() - self.processor)


class RotatedSVC(LinearSVC):
    """LinearSVC fitted on the samples' own coordinates, its coefficients in terms of the features."""

    def fit(self, X: NDArray[Any], y: NDArray[Any], sample_weight: None = None) -> RotatedSVC:
        rotation, coordinates = np.linalg.qr(X.T)
        super().fit(coordinates.T, y, sample_weight)
        self.coef_ = self.coef_ @ rotation.T
        self.n_features_in_ = X.shape[1]
        return self


@dataclass(frozen=True, slots=True)
class Comparison:
    """A run of scikit-learn beside ours; gaps are the largest differences of mean accuracy."""

    solver: str
    tolerance: float
    seconds: float
    processor_seconds: float
    curve_gap: float  # over sizes above 1 % of the features
    curve_gap_all: float
    same_set: bool
    same_ranking: bool
    size: int
    not_shared: int  # features that one of the two selected sets has and the other has not
    curve: list[float]


def read(folder: Path, features: int | None) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """The transcriptome, samples x genes as they come (log2), and the cancer of each sample."""
    table = pd.read_csv(folder / "rtcga_rsem_log2.tsv.gz", sep="\t", index_col=0)
    projects = pd.read_csv(folder / "rtcga_samples.csv", index_col="sample")["project"]
    return np.ascontiguousarray(table.to_numpy()[:features].T), projects.loc[table.columns].to_numpy()


def compare(
    ours: Elimination, matrix: NDArray[Any], labels: NDArray[Any], kind: type[LinearSVC], stop: tuple[float, int]
) -> Comparison:
    """Run scikit-learn's RFECV with machines of this `kind`, which stop at (tolerance, sweeps)."""
    machine = kind(C=1, loss="squared_hinge", dual=True, tol=stop[0], max_iter=stop[1], random_state=0)
    search = RFECV(machine, step=0.05, cv=StratifiedKFold(5), scoring="accuracy", min_features_to_select=1)
    begun = Clock.now()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the default does stop short: that is shown here
        search.fit(matrix, labels)
    taken = begun.elapsed()
    if not np.array_equal(search.cv_results_["n_features"][::-1], ours.sizes):
        sys.exit("scikit-learn went through other sizes than ours")
    curve = search.cv_results_["mean_test_score"][::-1]
    gaps = np.abs(curve - ours.mean_score)
    theirs = np.flatnonzero(search.support_)
    return Comparison(
        solver=kind.__name__,
        tolerance=stop[0],
        seconds=taken.wall,
        processor_seconds=taken.processor,
        curve_gap=float(gaps[ours.sizes > 0.01 * matrix.shape[1]].max()),
        curve_gap_all=float(gaps.max()),
        same_set=np.array_equal(theirs, ours.kept),
        same_ranking=np.array_equal(search.ranking_, ours.ranking),
        size=len(theirs),
        not_shared=len(np.setxor1d(theirs, ours.kept)),
        curve=curve.tolist(),
    )


def against_scikit_learn(folder: Path, features: int | None, *, literal: bool, repeats: int) -> dict[str, Any]:
    """Ours `repeats` times, RFECV once, then RFECV on rotated features from the default to tight tolerances."""
    matrix, labels = read(folder, features)
    times: list[Clock] = []
    for _ in range(repeats):
        begun = Clock.now()
        ours = eliminate(matrix, labels)
        times.append(begun.elapsed())
    seconds = statistics.median(taken.wall for taken in times)
    processor = statistics.median(taken.processor for taken in times)
    print(
        f"{matrix.shape[0]} samples x {matrix.shape[1]} genes, {len(set(labels))} classes, {matrix.dtype}", flush=True
    )
    print(
        f"ours: {ours.best_size} features in {seconds:.2f} s ({processor:.2f} s processor), median of {repeats}\n",
        flush=True,
    )

    plan = [(LinearSVC, DEFAULT), *((RotatedSVC, stop) for stop in (DEFAULT, *TIGHTER))]
    if literal:
        plan.append((LinearSVC, TIGHTER[0]))
    print("solver      tolerance   seconds  processor  gap >1 %   gap all  features  not shared  same ranking")
    runs: list[Comparison] = []
    for kind, stop in plan:
        runs.append(compare(ours, matrix, labels, kind, stop))
        r = runs[-1]
        print(
            f"{r.solver:10}  {r.tolerance:9.0e}  {r.seconds:8.1f}  {r.processor_seconds:9.1f}"
            f"  {r.curve_gap:8.4f}  {r.curve_gap_all:8.4f}  {r.size:8}  {r.not_shared:10}  {r.same_ranking!s:>12}",
            flush=True,
        )
    print_curves(ours, runs)
    return {
        "samples": matrix.shape[0],
        "features": matrix.shape[1],
        "seconds": seconds,
        "processor_seconds": processor,
        "scikit_learn_seconds": runs[0].seconds,
        "scikit_learn_processor_seconds": runs[0].processor_seconds,
        "speedup": runs[0].seconds / seconds,
        "processor_speedup": runs[0].processor_seconds / processor,
        "curve_gap": runs[0].curve_gap,
        "curve_gap_all": runs[0].curve_gap_all,
        "same_set": runs[0].same_set,
        "selected": ours.best_size,
        "tightest_curve_gap_all": runs[-1].curve_gap_all,
        "tightest_same_set": runs[-1].same_set,
        "tighter": [{k: v for k, v in asdict(r).items() if k != "curve"} for r in runs[1:]],
    }


def print_curves(ours: Elimination, runs: list[Comparison]) -> None:
    print("\nmean accuracy\n    size      ours  " + "  ".join(f"{r.solver[:7]} {r.tolerance:.0e}" for r in runs))
    for row, (size, score) in enumerate(zip(ours.sizes, ours.mean_score, strict=True)):
        print(f"{size:8}  {score:8.4f}  " + "  ".join(f"{r.curve[row]:13.4f}" for r in runs))


def simulated(
    *, samples: int, features: int, classes: int = 5, planted: int = 100, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.intp]]:
    """A matrix like log2 expression, its labels, and the `planted` columns a class that are shifted in that class."""
    rng = np.random.default_rng(seed)
    matrix = np.empty((samples, features), dtype=np.float32)
    base = rng.gamma(2.0, 1.5, size=features).astype(np.float32)
    for row in matrix:
        rng.standard_normal(dtype=np.float32, out=row)
        row += base
    labels = rng.permutation(np.arange(samples) % classes)
    signal = rng.choice(features, size=(classes, planted), replace=False)
    for label, columns in enumerate(signal):
        matrix[np.ix_(labels == label, columns)] += 1.0
    np.maximum(matrix, 0, out=matrix)  # transcripts that are not expressed are exactly 0
    return matrix, labels, np.sort(signal.ravel())


def on_simulated(samples: int, features: int, threads: int) -> dict[str, Any]:
    """Time, peak memory, and how much of what was planted is found."""
    matrix, labels, planted = simulated(samples=samples, features=features)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    begun = Clock.now()
    result = eliminate(
        matrix,
        labels,
        threads=threads,
        progress=lambda done, total, _="": print(f"round {done} of {total}", flush=True),
    )
    taken = begun.elapsed()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print("\n    size  accuracy  planted found")
    for size, score in zip(result.sizes, result.mean_score, strict=True):
        print(f"{size:8}  {score:8.4f}  {np.isin(planted, result.kept_at(size)).mean():13.3f}")
    return {
        "samples": samples,
        "features": features,
        "dtype": str(matrix.dtype),
        "threads": threads,
        "seconds": taken.wall,
        "processor_seconds": taken.processor,
        "peak_gib": peak,
        "gib_before": held,
        "selected": result.best_size,
        "planted_found": float(np.isin(planted, result.kept).mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=EXPRESSION, help="folder of rtcga_rsem_log2.tsv.gz")
    parser.add_argument("--features", type=int, help="only the first so many features (simulated: that many)")
    parser.add_argument("--repeats", type=int, default=5, help="runs of ours, of which the median counts")
    parser.add_argument("--literal", action="store_true", help="also RFECV itself at a tight tolerance: slow")
    parser.add_argument("--simulate", action="store_true", help="a simulated matrix of transcripts, ours alone")
    parser.add_argument("--samples", type=int, default=1_000, help="samples of the simulated matrix")
    parser.add_argument("--threads", type=int, default=2, help="on the simulated matrix; else 1")
    chosen = parser.parse_args()
    if chosen.simulate:
        result = on_simulated(chosen.samples, chosen.features or 197_044, chosen.threads)
    else:
        with threadpool_limits(1):
            result = against_scikit_learn(chosen.data, chosen.features, literal=chosen.literal, repeats=chosen.repeats)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
