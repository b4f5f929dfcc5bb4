"""New patients, embedded with a finished run or with a model handed on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mirror.cli.progress import progress_bar
from mirror.cli.screen import screen
from mirror.config import load_config
from mirror.errors import ConfigError

if TYPE_CHECKING:
    from mirror.config import Config
    from mirror.workflow.embed import EmbeddingReport

console = screen(stderr=True)


def embed_with_run(config: Config, run_path: Path, output: Path) -> EmbeddingReport:
    """Embed the cohort of a configuration, new to it, with a finished run."""
    from mirror.data.cohort import build_cohort
    from mirror.training.runs import RunFolder
    from mirror.workflow.embed import embed_run

    with progress_bar(console, "cohort") as progress:
        made = build_cohort(config.cohort, with_folds=False, progress=progress)
    with progress_bar(console, "embed") as progress:
        return embed_run(RunFolder(run_path), made, fold=None, path=output, device=config.device, progress=progress)


class NewPatients(NamedTuple):
    """What the command line says of new patients besides their features."""

    slides: Path | None
    expression: Path | None
    units: str | None
    genes_in_rows: bool
    keep_without_slide: bool
    encoder: str | None

    def given(self) -> list[str]:
        """The options that were given."""
        return [f"--{name.replace('_', '-')}" for name, value in self._asdict().items() if value]


def embed_with_model(
    source: Path, model: str, *, revision: str | None, output: Path | None, patients: NewPatients
) -> EmbeddingReport:
    """Embed a folder of features, or the cohort of a configuration, with a handed-on model."""
    import numpy as np

    from mirror.evaluation.embed import save_table
    from mirror.workflow.embed import EmbeddingReport, embed_cohort
    from mirror.workflow.handed_on import load

    if source.is_dir():
        path = output or Path(f"{source.resolve().name}.embeddings.h5ad")
        loaded = load(model, revision=revision)
        with progress_bar(console, "embed") as progress:
            table = loaded.embed(
                source,
                patients=patients.slides,
                expression=patients.expression,
                units=patients.units,
                genes_in_rows=patients.genes_in_rows,
                without_slide="keep" if patients.keep_without_slide else "leave_out",
                encoder=patients.encoder,
                progress=progress,
            )
        save_table(path, table)
        for kind, reason, count in table.uns["excluded"].value_counts(["kind", "reason"]).reset_index().to_numpy():
            console.print(f"          left out: {count} x {kind}, {reason}", markup=False, highlight=False)
        alone = int(np.isnan(table.obsm["X_expression"]).any(axis=1).sum())
        missing = tuple(str(table.uns["missing_genes"]).split())
        return EmbeddingReport(path, len(table), alone, 0, loaded.facts.expects.genes, missing)
    if patients.given():
        raise ConfigError(f"{', '.join(patients.given())}: {source} says these things itself; they are for a folder")
    from mirror.data.cohort import build_cohort

    config = load_config(source)
    path = output or Path(f"{config.name}.embeddings.h5ad")
    loaded = load(model, revision=revision)
    with progress_bar(console, "cohort") as progress:
        made = build_cohort(config.cohort, with_folds=False, progress=progress)
    with progress_bar(console, "embed") as progress:
        return embed_cohort(loaded.trained, made, fold=None, path=path, device=config.device, progress=progress)
