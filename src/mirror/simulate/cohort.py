"""A cohort with known truth, written in the files that users have.

Three independent factors a patient: `shared` shows in the tiles and in the expression, `slide` only in the tiles,
`expression` only in the expression. Subtype and survival depend on all three, so a representation that keeps only what
the modalities share must lose; both modalities also carry nuisance variation larger than the factors.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mirror.artefacts import write_aside, write_text
from mirror.data.feature_file import BagFacts, write_bag
from mirror.seeding import rng_for
from mirror.simulate.planted import write_planted
from mirror.simulate.planted_genes import gene_name, planted_loadings
from mirror.types import Progress, silent

FACTORS = ("shared", "slide", "expression")
"""Each factor has two coordinates: the first one moves the subtype, the second one survival."""
TILE_PX = 512
MPP = 0.5
TILE_LEVEL0_PX = 2 * TILE_PX
"""Tiles of 512 px at 20x; the slides were scanned at 40x, so a tile is 1,024 px wide at level 0."""

FACTS = BagFacts(encoder="simulated", mpp=MPP, tile_px=TILE_PX, tile_level0_px=float(TILE_LEVEL0_PX), slide_mpp=MPP / 2)


@dataclass(frozen=True, slots=True)
class SimulationSizes:
    """How large the simulated cohort is, and how loud its nuisance."""

    patients: int = 240
    tile_features: int = 48
    genes: int = 300
    tiles: tuple[int, int] = (40, 120)
    """Least and most tiles a slide."""
    tile_noise: float = 2.0
    tissue_spread: float = 2.0
    """How far apart the five kinds of tissue lie."""
    gene_noise: float = 1.5
    without_expression: float = 0.05
    without_slide: float = 0.0
    two_slides: float = 0.1
    planted: int | None = None
    """Genes that each coordinate of a factor in the expression has to itself (`planted_genes`). None: the same quarter
    of the genes carries all of them, each as strongly as it happens."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What the data was made from. `factors` (N, 6): two coordinates of each of `FACTORS`; N patients."""

    patients: tuple[str, ...]
    factors: NDArray[np.float64]
    subtype: NDArray[np.str_]
    time: NDArray[np.float64]
    event: NDArray[np.bool_]


def simulate_cohort(
    folder: Path, *, seed: int, sizes: SimulationSizes | None = None, progress: Progress = silent
) -> Truth:
    """Write features, expression, clinical and slide tables, the truth and a configuration under `folder`.

    A few flaws of real cohorts are written too, so that the ledger of exclusions has something to say: patients without
    expression (and without a slide, where `sizes` says so), a slide without features, features of a slide that no table
    lists, a patient without follow-up.
    """
    sizes = sizes or SimulationSizes()
    truth = draw_truth(sizes, seed=seed)
    slides = _write_features(folder / "features", truth, sizes, seed=seed, progress=progress)
    write_tables(folder, truth, slides, sizes, seed=seed)
    write_text(folder / "demo.yaml", f"# seed {seed}\n{DEMO_CONFIG}")
    return truth


def write_tables(folder: Path, truth: Truth, slides: pd.DataFrame, sizes: SimulationSizes, *, seed: int) -> None:
    """Write expression, clinical and slide tables and the truth; `slides` has the columns slide_id and case_id.

    Some patients lose their expression, the last one its follow-up, and a slide is listed that has no features.
    """
    expression = _draw_expression(truth, sizes, seed=seed)
    rng = rng_for(seed, "flaws")
    has_expression = rng.random(sizes.patients) >= sizes.without_expression
    clinical = pd.DataFrame(
        {
            "case_id": truth.patients,
            "subtype": truth.subtype,
            "survival_months": np.round(truth.time, 2),
            "event": truth.event.astype(int),
        }
    )
    clinical.loc[sizes.patients - 1, ["survival_months", "event"]] = np.nan
    lost = pd.DataFrame({"slide_id": ["SIM-LOST-DX1"], "case_id": [truth.patients[0]]})
    _write_csv(folder / "slides.csv", pd.concat([slides, lost]))
    _write_csv(folder / "expression.csv.gz", expression[has_expression])
    _write_csv(folder / "clinical.csv", clinical)
    columns = [f"{factor}_{part}" for factor in FACTORS for part in ("subtype", "survival")]
    known = pd.DataFrame(truth.factors, columns=columns)
    known.insert(0, "case_id", truth.patients)
    _write_csv(folder / "truth.csv", known)


def simulated_with(folder: Path) -> int | None:
    """The seed a cohort in `folder` was simulated with, or None where its configuration does not say."""
    first = (folder / "demo.yaml").read_text(encoding="utf-8").splitlines()[0]
    seed = first.removeprefix("# seed ")
    return int(seed) if seed.isdecimal() else None


def draw_truth(sizes: SimulationSizes, *, seed: int) -> Truth:
    """Factors, subtypes and survival of the patients, before any of it is hidden in tiles and genes."""
    rng = rng_for(seed, "truth")
    factors = rng.standard_normal((sizes.patients, 2 * len(FACTORS)))
    for_subtype, for_survival = factors[:, 0::2].sum(axis=1), factors[:, 1::2].sum(axis=1)
    logit = 1.5 * for_subtype + rng.logistic(size=sizes.patients)
    subtype = np.where(logit > np.quantile(logit, 0.6), "B", "A")
    death = rng.exponential(40.0 * np.exp(-0.6 * for_survival))
    follow_up = rng.uniform(6.0, 80.0, sizes.patients)
    patients = tuple(f"SIM-{number:04d}" for number in range(sizes.patients))
    return Truth(patients, factors, subtype, np.minimum(death, follow_up), death <= follow_up)


def _write_features(
    folder: Path, truth: Truth, sizes: SimulationSizes, *, seed: int, progress: Progress
) -> pd.DataFrame:
    rng = rng_for(seed, "tissue")
    visible = truth.factors[:, [0, 1, 2, 3]]  # shared and slide-only
    loadings = rng.standard_normal((visible.shape[1], sizes.tile_features)) / np.sqrt(visible.shape[1])
    tissues = sizes.tissue_spread * rng.standard_normal((5, sizes.tile_features))
    rows: list[dict[str, str]] = []
    # From a stream of its own: where everybody has a slide, nothing else changes.
    has_slide = rng_for(seed, "slides lost").random(sizes.patients) >= sizes.without_slide

    def write(slide: str, signal: NDArray[np.float64]) -> None:
        drawn = _draw_slide(signal, tissues, sizes, rng)
        write_bag(folder / f"{slide}.h5", drawn.features, coords=drawn.grid * TILE_LEVEL0_PX, facts=FACTS)
        tumour = np.zeros(drawn.grid.max(axis=0)[::-1] + 1, dtype=bool)
        tumour[drawn.grid[:, 1], drawn.grid[:, 0]] = drawn.tumour
        write_planted(folder.parent, slide, tumour, px=TILE_LEVEL0_PX)

    for number, patient in enumerate(truth.patients):
        progress(number, len(truth.patients), "simulating slides")
        for slide_number in range(1 + (rng.random() < sizes.two_slides) if has_slide[number] else 0):
            slide = f"{patient}-DX{slide_number + 1}"
            write(slide, visible[number] @ loadings)
            rows.append({"slide_id": slide, "case_id": patient})
    write("SIM-STRAY-DX1", visible[0] @ loadings)
    progress(len(truth.patients), len(truth.patients))
    return pd.DataFrame(rows)


class _Drawn(NamedTuple):
    """Features (T, D) of a slide's tiles, their places (x, y) on its grid (T, 2), and which are tumour (T,)."""

    features: NDArray[np.float32]
    grid: NDArray[np.int64]
    tumour: NDArray[np.bool_]


def _draw_slide(
    signal: NDArray[np.float64], tissues: NDArray[np.float64], sizes: SimulationSizes, rng: np.random.Generator
) -> _Drawn:
    """Tiles on a grid: a round tumour that carries `signal`, tissue of four other kinds around it."""
    count = int(rng.integers(*sizes.tiles, endpoint=True))
    side = int(np.ceil(np.sqrt(count)))
    grid = np.stack(np.unravel_index(np.arange(count), (side, side)), axis=1)[:, ::-1]
    centre, radius = rng.uniform(0.3, 0.7, 2) * side, rng.uniform(0.3, 0.5) * side
    tumour = np.hypot(*(grid - centre).T) <= radius
    kind = np.where(tumour, 0, rng.integers(1, len(tissues), count))
    stain = rng.standard_normal(sizes.tile_features)  # a slide's own shift, larger than what it hides
    features = tissues[kind] + stain + sizes.tile_noise * rng.standard_normal((count, sizes.tile_features))
    features[tumour] += 1.5 * signal
    return _Drawn(features.astype(np.float32), grid.astype(np.int64), tumour)


def _draw_expression(truth: Truth, sizes: SimulationSizes, *, seed: int) -> pd.DataFrame:
    rng = rng_for(seed, "expression")
    visible = truth.factors[:, [0, 1, 4, 5]]  # shared and expression-only
    nuisance = rng.standard_normal((len(truth.patients), 8))
    loadings = rng.standard_normal((visible.shape[1], sizes.genes)) * (rng.random((1, sizes.genes)) < 0.25)
    if sizes.planted is not None:
        loadings = planted_loadings(sizes.planted, genes=sizes.genes, seed=seed)
    programmes = 0.8 * rng.standard_normal((nuisance.shape[1], sizes.genes))
    level = rng.uniform(2.0, 9.0, sizes.genes)
    noise = sizes.gene_noise * rng.standard_normal((len(truth.patients), sizes.genes))
    values = level + 0.7 * visible @ loadings + nuisance @ programmes + noise
    table = pd.DataFrame(np.round(values, 4), columns=list(map(gene_name, range(sizes.genes))))
    table.insert(0, "case_id", truth.patients)
    return table


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    with write_aside(path) as aside:
        table.to_csv(aside, index=False, compression="gzip" if path.suffix == ".gz" else None)


DEMO_CONFIG = """\
# The demo's cohort: simulated, with known truth (truth.csv). Copy this file to start your own.
name: demo
output: run
cohort:
  features: {path: features}
  slides: {path: slides.csv, slide: slide_id, patient: case_id}
  expression:
    path: expression.csv.gz
    orientation: patients_in_rows
    id: case_id
    units: log2(RSEM), simulated
  clinical:
    path: clinical.csv
    patient: case_id
    label: subtype
    classes: [A, B]
    time: survival_months
    time_unit: months
    event: event
    event_convention: one_is_event
  folds: {count: 3}
# The default preset; the simulated tiles have 48 features only, so fewer components.
model: {components: 16}
pretraining: {tiles: 48}
"""
