"""Bring a checkpoint of the authors' code in as a run that `mirror embed` can use."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from mirror.artefacts import hash_file
from mirror.compat.published import from_state_dict, load_checkpoint
from mirror.data.panel import GenePanel
from mirror.errors import ConfigError, DataError
from mirror.training.checkpoint import save_weights
from mirror.training.runs import RunFolder
from mirror.units import parse_units


def import_weights(file: Path, run: RunFolder, *, genes: Path | None, units: str | None, encoder: str | None) -> None:
    """Write the model of `file` as a finished run, executing nothing that is in it.

    A checkpoint does not say which gene each of its columns is: `genes`, a text file with one identifier a line in the
    order of training, says it; without it the run embeds slides only. `units` are those of its expression table.
    Raises `ArtefactError` for files that are no such checkpoint, `DataError` when the number of genes is another one.
    """
    if run.record.exists():
        raise ConfigError(f"{run.path} already holds a run; choose another --output")
    if (genes is None) != (units is None):
        raise ConfigError("--genes and --units belong together: the names of the columns, and what their values are")
    model = from_state_dict(load_checkpoint(file))
    if genes is not None and units is not None:
        parse_units(units)  # refuses what is of no known form
        _published_panel(genes, units, expected=model.sizes.genes).save(run.panel)
    save_weights(run.weights, model.state_dict(), sizes=asdict(model.sizes))
    run.finish(
        fingerprint=hash_file(file),
        name=file.name,
        preset="published",
        imported_from=file.name,
        patients=[],
        encoder=encoder,
    )


def _published_panel(path: Path, units: str, *, expected: int) -> GenePanel:
    try:
        genes = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a list of genes ({error}); give one identifier a line") from error
    twice = sorted({gene for gene in genes if genes.count(gene) > 1}) if len(set(genes)) < len(genes) else []
    if twice:
        raise DataError(f"{path} names {', '.join(twice[:5])} more than once; a column has one gene")
    if len(genes) != expected:
        raise DataError(f"{path} names {len(genes)} genes, the checkpoint reads {expected} expression features")
    return GenePanel(genes, units, "none", np.zeros(expected), np.ones(expected), fitted_on=())
