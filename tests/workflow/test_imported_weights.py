"""A checkpoint trained with the authors' code becomes a run that embeds as its model does."""

from __future__ import annotations

import pickle
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from mirror.compat.published import from_state_dict
from mirror.config import Config, resolve
from mirror.data.cohort import build_cohort
from mirror.errors import ConfigError, DataError, MirrorError
from mirror.training.runs import RunFolder
from mirror.workflow.embed import embed_run
from mirror.workflow.imported import import_weights

GENES = [f"G{number}" for number in range(60)]


@pytest.fixture(scope="module")
def state(shared: Path) -> dict[str, torch.Tensor]:
    recorded = load_file(shared / "parity" / "published_small.safetensors")
    return {name.removeprefix("weights."): t for name, t in recorded.items() if name.startswith("weights.")}


@pytest.fixture
def checkpoint(state: dict[str, torch.Tensor], tmp_path: Path) -> Path:
    path = tmp_path / "model_best.pth.tar"
    torch.save({"epoch": 3, "state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, path)
    return path


@pytest.fixture
def new_patients(tmp_path: Path) -> Config:
    """Three slides of two patients, one of whom has expression, genes in another order."""
    (tmp_path / "features").mkdir()
    for slide in ("a1", "a2", "b1"):
        torch.save(torch.randn(17, 40), tmp_path / "features" / f"{slide}.pt")
    (tmp_path / "slides.csv").write_text("slide_id,case_id\na1,a\na2,a\nb1,b\n")
    table = pd.DataFrame([np.linspace(-1, 1, 60)], columns=GENES, index=pd.Index(["a"], name="case_id"))
    table[GENES[::-1]].to_csv(tmp_path / "expression.csv")
    cohort = {
        "features": {"path": "features"},
        "slides": {"path": "slides.csv"},
        "expression": {"path": "expression.csv", "orientation": "patients_in_rows", "units": "log2(TPM)"},
    }
    return resolve({"name": "new", "output": "out", "cohort": cohort}, where=tmp_path / "new.yaml")


def gene_list(folder: Path, genes: list[str] = GENES) -> Path:
    path = folder / "genes.txt"
    path.write_text("\n".join(genes) + "\n")
    return path


def embedded(run: RunFolder, config: Config, path: Path) -> anndata.AnnData:
    cohort = build_cohort(config.cohort, with_folds=False)
    embed_run(run, cohort, fold=None, path=path)
    return anndata.read_h5ad(path)


def test_an_imported_run_embeds_as_the_checkpoints_own_model(
    checkpoint: Path, state: dict[str, torch.Tensor], new_patients: Config, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    import_weights(checkpoint, run, genes=gene_list(tmp_path), units="log2(TPM)", encoder=None)
    table = embedded(run, new_patients, tmp_path / "new.h5ad")
    model = from_state_dict(state)
    tiles = torch.load(tmp_path / "features" / "a2.pt", weights_only=True)[None]
    with torch.inference_mode():
        slide = model.encode_slide(tiles)[0, 0]
        expression = model.encode_expression(torch.linspace(-1, 1, 60)[None])[0]
    row = list(table.obs_names).index("a2")
    np.testing.assert_allclose(table.obsm["X_slide"][row], slide, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(table.obsm["X_expression"][row], expression, rtol=1e-4, atol=1e-5)
    assert np.isnan(table.obsm["X_expression"][list(table.obs_names).index("b1")]).all()


def test_without_names_for_its_columns_it_embeds_slides_only(
    checkpoint: Path, new_patients: Config, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    import_weights(checkpoint, run, genes=None, units=None, encoder=None)
    table = embedded(run, new_patients, tmp_path / "new.h5ad")
    assert np.isfinite(table.obsm["X_slide"]).all()
    assert np.isnan(table.obsm["X_expression"]).all()


def test_a_gene_list_that_does_not_fit_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    for genes, says in ((GENES[:-1], "59 genes"), ([*GENES[:-1], "G0"], "more than once")):
        with pytest.raises(DataError, match=says):
            import_weights(checkpoint, run, genes=gene_list(tmp_path, genes), units="log2(TPM)", encoder=None)
    with pytest.raises(ConfigError, match="belong together"):
        import_weights(checkpoint, run, genes=gene_list(tmp_path), units=None, encoder=None)
    assert not run.path.exists()


class Boom:
    """Writes a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, (f"open({str(self.path)!r}, 'w').close()",)


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    path, witness = tmp_path / "evil.pth.tar", tmp_path / "executed"
    for write in (
        lambda: torch.save({"state_dict": Boom(witness)}, path),
        lambda: path.write_bytes(pickle.dumps(Boom(witness))),
    ):
        write()
        with pytest.raises(MirrorError, match="evil"):
            import_weights(path, RunFolder(tmp_path / "run"), genes=None, units=None, encoder=None)
    assert not witness.exists()
    assert not (tmp_path / "run").exists()


def test_a_folder_with_a_run_is_not_overwritten(checkpoint: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    import_weights(checkpoint, run, genes=None, units=None, encoder=None)
    with pytest.raises(ConfigError, match="already holds a run"):
        import_weights(checkpoint, run, genes=None, units=None, encoder=None)
