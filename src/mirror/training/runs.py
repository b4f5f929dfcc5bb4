"""A run: one model trained on the training patients of one fold with one seed, and the folder it lives in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mirror.artefacts import read_json, versions, write_json
from mirror.errors import ArtefactError, LeakError, raise_together
from mirror.types import WHOLE, Fold


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The files of a run. `run.json` is written last and says that the run is complete."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def record(self) -> Path:
        return self.path / "run.json"

    @property
    def panel(self) -> Path:
        return self.path / "panel.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def weights(self) -> Path:
        return self.path / "model.safetensors"

    @property
    def state(self) -> Path:
        return self.path / "state.pt"

    @property
    def embeddings(self) -> Path:
        return self.path / "embeddings.h5ad"

    def is_complete(self, fingerprint: str) -> bool:
        """True when this very run (same settings, same data) has been trained to its end and its files are there.

        A run that lost a file is not complete: training it again goes on from its last state and writes what is
        missing. Raises `ArtefactError` when the folder holds a finished run of other settings or data.
        """
        if not self.record.exists():
            return False
        found = read_json(self.record)["fingerprint"]
        if found != fingerprint:
            raise ArtefactError(
                f"{self.path} holds a run with other settings or data ({found}, now {fingerprint}); "
                "choose another `output`, or train again with --overwrite"
            )
        return all(file.exists() for file in (self.weights, self.panel, self.metrics, self.config))

    def clear(self) -> None:
        """Remove what an earlier run left here, its embeddings included."""
        for file in (self.record, self.state, self.weights, self.metrics, self.panel, self.config, self.embeddings):
            file.unlink(missing_ok=True)

    def finish(self, **facts: Any) -> None:
        """Write the record of a complete run: `facts` and the versions of the libraries that made it."""
        write_json(self.record, {**facts, "versions": versions()})

    def require_blind(self, fold: Fold) -> None:
        """Raise `LeakError`, naming them, when the run was trained on test patients of `fold`: as after a table has
        changed, by which folds were dealt anew."""
        seen = sorted({*self.read_record()["patients"]} & {*fold.test})
        raise_together(
            LeakError,
            f"{self.path} was trained on test patients of fold {fold.number} ({len(seen)} of {len(fold.test)}); if "
            "tables or folds have changed since, run `mirror pretrain --overwrite` and `mirror embed`:",
            seen,
        )

    def read_record(self) -> dict[str, Any]:
        """The record of a finished run. Raises `ArtefactError` when the run is not complete."""
        if not self.record.exists():
            raise ArtefactError(f"{self.path} holds no finished run; run `mirror pretrain` first")
        return read_json(self.record)


def run_folder(output: Path, *, seed: int, fold: int) -> RunFolder:
    """The run of `seed` and `fold` under a configuration's `output`; that of all patients is called `all`."""
    return RunFolder(output / "runs" / f"seed{seed}" / ("all" if fold == WHOLE else f"fold{fold}"))
