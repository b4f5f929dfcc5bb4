"""The embedding stage: a finished run's model over its own cohort, or over patients it has never seen."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from mirror.artefacts import fingerprint, hash_file
from mirror.data.cohort import Cohort
from mirror.data.feature_store import FeatureStore
from mirror.errors import ArtefactError
from mirror.evaluation.embed import embed_slides, load_embeddings, save_embeddings
from mirror.tasks.trained import TrainedModel, load_trained
from mirror.training.device import choose_device
from mirror.training.runs import RunFolder
from mirror.types import Fold, Progress, silent


class EmbeddingReport(NamedTuple):
    """What was embedded, and what the model's panel did not find. `path` is the file that was written or left alone."""

    path: Path
    slides: int
    without_expression: int
    without_slide: int
    panel_genes: int
    missing_genes: tuple[str, ...]


def embed_run(
    run: RunFolder,
    cohort: Cohort,
    *,
    fold: Fold | None,
    path: Path,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    progress: Progress = silent,
) -> EmbeddingReport:
    """Write the embeddings of every slide of `cohort` to `path`, unless this run's of this cohort are there already.

    Genes are matched by name; a slide without expression gets its slide embedding, a patient without a slide a row
    of the expression embedding. `fold` None means that the cohort
    is not the run's own; patients whom the run was trained on keep the role `train` all the same. Raises `DataError`
    when the cohort's features are not those the run was trained on.
    """
    trained = load_trained(run)
    trained.check_fits(cohort)
    profiles = trained.profiles(cohort)
    provenance = {
        "run": str(trained.record["fingerprint"]),
        "cohort": fingerprint(
            cohort.slides[["slide", "patient", "feature_hash"]].to_numpy().tolist(),
            cohort.expression.content_hash() if cohort.expression is not None else None,
        ),
        "encoder": cohort.encoder or "",
        "panel": hash_file(run.panel) if trained.panel is not None else "",
        "fold": fingerprint(fold),
    }
    missing = profiles.missing_genes if profiles is not None else ()
    without = int((~cohort.slides["has_expression"]).sum()) if profiles is not None else len(cohort.slides)
    genes = len(trained.panel.genes) if trained.panel is not None else 0
    lone = len(cohort.without_slide) if profiles is not None else 0
    report = EmbeddingReport(path, len(cohort.slides), without, lone, genes, missing)
    if path.exists() and _is_of(path, provenance):
        return report
    expression = dict(zip(profiles.patients, profiles.values, strict=True)) if profiles is not None else {}
    embeddings = embed_slides(
        trained.model,
        FeatureStore(cohort.paths, keep_open=1),
        cohort.slides,
        expression,
        device=choose_device(device),
        without_slide=[str(patient) for patient in cohort.without_slide.index if patient in expression],
        progress=progress,
    )
    notes = {**provenance, "missing_genes": " ".join(missing), "preset": str(trained.record["preset"])}
    save_embeddings(path, embeddings, roles=_roles(cohort, trained, fold), provenance=notes)
    return report


def _roles(cohort: Cohort, trained: TrainedModel, fold: Fold | None) -> dict[str, str]:
    """What each patient was to the run: `train`, `test` or `unused` in its fold; without a fold `train` or `new`."""
    train, test = (trained.record["patients"], ()) if fold is None else (fold.train, fold.test)
    others = "new" if fold is None else "unused"
    known = dict.fromkeys(train, "train") | dict.fromkeys(test, "test")
    return {str(patient): known.get(str(patient), others) for patient in cohort.patients.index}


def _is_of(path: Path, provenance: dict[str, str]) -> bool:
    try:
        found = load_embeddings(path).uns
    except ArtefactError:  # what is damaged or of another version is written again
        return False
    return all(found.get(name) == value for name, value in provenance.items())
