"""`mirror audit` on a finished job: clean as it is, and every leak that is planted into its files is found."""

from __future__ import annotations

import html
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import anndata
import pandas as pd
import pytest
import yaml
from safetensors.torch import load_file
from small_job import CANONICAL, write_config

from mirror.artefacts import read_json
from mirror.cli.app import main
from mirror.config import load_config
from mirror.data.cohort import Cohort
from mirror.errors import ConfigError
from mirror.evaluation.audit.finding import Finding
from mirror.evaluation.scores import read_predictions, read_provenance, write_predictions
from mirror.training.checkpoint import load_weights, save_weights
from mirror.workflow.audit import audit, audit_file, configuration_of
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.embed import embed_run
from mirror.workflow.evaluate import evaluate_runs
from mirror.workflow.pretrain import pretrain_fold, wanted_runs

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.fixture(scope="module")
def finished(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a whole job of the default preset, genes chosen inside each fold. Not to be written into."""
    output = tmp_path_factory.mktemp("audited") / "out"
    path = write_config(simulated, output, form=CANONICAL)
    content = yaml.safe_load(path.read_text())
    content["refinement"] = {"folds": 2, "size": 20}
    path.write_text(yaml.safe_dump(content))
    config = load_config(path)
    cohort = prepare_cohort(config)
    for seed, fold in wanted_runs(config, cohort, fold=None, seed=None):
        run = pretrain_fold(config, cohort, fold, seed)
        embed_run(run, cohort, fold=fold, path=run.embeddings)
    evaluate_runs(config, representations=["fused", "raw_slide"])
    return output


@pytest.fixture
def output(finished: Path, tmp_path: Path) -> Path:
    """A copy to plant leaks into."""
    shutil.copytree(finished, tmp_path / "out")
    return tmp_path / "out"


def findings(output: Path) -> tuple[Finding, ...]:
    return audit(configuration_of(output)).findings


def only(output: Path) -> Finding:
    (finding,) = findings(output)
    return finding


def rewrite(path: Path, change: Callable[[dict], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def judged_patient(output: Path, fold: int = 0) -> str:
    """A patient whom this fold judges, with expression."""
    cohort = Cohort.load(output / "cohort")
    return next(name for name in cohort.folds[fold].test if cohort.patients.loc[name, "has_expression"])


def command(monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["mirror", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_a_clean_job_has_nothing_and_every_fitted_thing_was_looked_at(finished: Path):
    config = configuration_of(finished)
    found = audit(config)
    assert found.findings == () and found.leaks == 0
    looked = {check.name: check.looked for check in found.checks}
    for thing in (
        "weights and closed form",
        "moments of the gene panel",
        "choice of genes",
        "scalers and components",
        "time bins and censoring weights",
        "fitted anew: moments of the gene panel, slide moments of the model, gene moments of the model",
    ):
        assert thing in looked["fitted on the wrong patients"]
    assert read_json(audit_file(config))["leaks"] == 0


def test_the_command_ends_well_without_a_leak_and_badly_with_one(
    output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert command(monkeypatch, "audit", output) == 0
    assert "nothing found in 8 checks" in capsys.readouterr().err
    name = judged_patient(output)
    rewrite(output / "runs/seed0/fold0/run.json", lambda record: record["patients"].append(name))
    assert command(monkeypatch, "audit", output) == 1
    said = capsys.readouterr()
    assert name in said.out and "What to do: train and evaluate again" in said.out


def test_a_test_patient_among_those_a_run_was_trained_on(output: Path):
    name = judged_patient(output)
    rewrite(output / "runs/seed0/fold0/run.json", lambda record: record["patients"].append(name))
    found = findings(output)
    # The record says so, the scores judged that very patient, and the means of the model are not theirs any more.
    assert {"patients in both halves", "fitted on the wrong patients"} == {finding.check for finding in found}
    assert sum(finding.examples == (name,) for finding in found) == 2
    assert all(finding.severity == "leak" for finding in found)


def test_a_test_patient_whom_a_pooled_cohort_lent(output: Path):
    name = judged_patient(output)
    pool = [{"patients": 2, "pairs": 2, "fitted_on": ["STRANGER", name]}]
    rewrite(output / "runs/seed0/fold0/run.json", lambda record: record.update(pool=pool))
    assert (only(output).severity, only(output).examples) == ("leak", (name,))


@pytest.mark.parametrize("what", ["fitted_on", "selection"])
def test_a_panel_that_saw_a_test_patient(output: Path, what: str):
    name = judged_patient(output, fold=1)

    def change(panel: dict) -> None:
        (panel["fitted_on"] if what == "fitted_on" else panel["selection"]["selected_on"]).append(name)

    rewrite(output / "runs/seed0/fold1/panel.json", change)
    found = findings(output)
    assert found[0].severity == "leak" and found[0].where == "seed 0, fold 1"
    assert name in {example for finding in found for example in finding.examples}


def test_a_panel_whose_moments_are_of_other_patients_than_it_names(output: Path):
    rewrite(output / "runs/seed0/fold0/panel.json", lambda panel: panel.update(mean=[1.1 * m for m in panel["mean"]]))
    said = [finding.sentence for finding in findings(output)]
    assert any("moments of the gene panel" in one and "not those of the patients they name" in one for one in said)


def test_a_model_standardised_by_the_whole_cohort(output: Path):
    run = output / "runs/seed0/fold0"
    table = anndata.read_h5ad(run / "embeddings.h5ad")
    everybody = pd.DataFrame(table.obsm["X_raw_slide"]).groupby(table.obs["patient"].to_numpy()).mean().mean()
    weights = load_weights(run / "model.safetensors")
    mean = weights.tensors["slide_mean"]
    mean.copy_(mean.new_tensor(everybody.to_numpy()))
    save_weights(run / "model.safetensors", weights.tensors, sizes=weights.sizes)
    assert "slide_mean" in load_file(run / "model.safetensors")
    finding = only(output)
    assert finding.severity == "leak" and "slide moments of the model" in finding.sentence


@pytest.mark.parametrize("kind", ["scaled_on", "fitted_on"])
def test_probes_scalers_and_bins_that_saw_a_test_patient(output: Path, kind: str):
    name = judged_patient(output)

    def change(account: dict) -> None:
        key = account["runs"][0]["counts"][0][kind]
        account["patients"]["planted"] = [*account["patients"][key], name]
        account["runs"][0]["counts"][0][kind] = "planted"

    rewrite(output / "evaluation.json", change)
    finding = only(output)
    assert (finding.severity, finding.examples) == ("leak", (name,))
    assert ("time bins" in finding.sentence) == (kind == "fitted_on")


def test_scores_of_a_version_that_did_not_remember_are_a_warning_once(output: Path):
    rewrite(output / "evaluation.json", lambda account: account.pop("patients"))
    found = findings(output)
    assert [finding.severity for finding in found] == ["warning", "warning"]
    assert all("do not say on whom they were fitted" in finding.sentence for finding in found)


def test_what_warns_is_named_on_the_terminal_and_told_with_its_remedy_at_the_top_of_the_page(
    output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    rewrite(output / "evaluation.json", lambda account: account.pop("patients"))
    assert command(monkeypatch, "report", output) == 0
    lines = capsys.readouterr().err.splitlines()
    found = findings(output)
    assert [line for line in lines if line.startswith("warning")] == [
        f"warning   {finding.check}: {finding.sentence}" for finding in found
    ]
    assert "audit     2 warnings in 8 checks" in lines
    page = html.unescape((output / "report.html").read_text(encoding="utf-8"))
    told = page.split("Can these numbers be trusted?")[1].split("</div>")[0]
    for finding in found:
        assert f"{finding.check.capitalize()}: {finding.sentence}. What to do: {finding.remedy}." in told


def test_folds_that_were_changed_after_the_runs(output: Path):
    name = judged_patient(output)
    rewrite(output / "cohort/folds.json", lambda content: content["folds"][0]["train"].append(name))
    finding = only(output)
    assert (finding.check, finding.examples) == ("patients in both halves", (name,))


def test_scores_that_judge_a_training_patient(output: Path):
    path = output / "predictions.parquet"
    predictions, provenance = read_predictions(path), read_provenance(path)
    name = Cohort.load(output / "cohort").folds[0].train[0]
    predictions.loc[predictions.index[predictions["fold"] == 0][0], "patient"] = name
    write_predictions(path, predictions, provenance=provenance)
    finding = only(output)
    assert (finding.check, finding.examples) == ("patients in both halves", (name,))


def test_one_slide_under_the_names_of_two_patients(output: Path):
    path = output / "cohort/cohort.parquet"
    slides, fold = pd.read_parquet(path), Cohort.load(output / "cohort").folds[0]
    rows = [slides.index[slides["patient"] == half[0]][0] for half in (fold.train, fold.test)]
    for column in ("tiles", "feature_hash"):
        slides.loc[rows[0], column] = slides.loc[rows[1], column]
    slides.to_parquet(path, index=False)
    assert (only(output).check, only(output).severity) == ("slides under two names", "leak")


def test_folds_that_the_cohort_refuses_are_audited_before_anything_is_built(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    names = [f"SIM-{number:04d}" for number in range(40)]
    folds = {"0": {"train": names[:21], "val": names[20:]}, "1": {"train": names[20:], "val": names[:20]}}
    (tmp_path / "folds.json").write_text(json.dumps(folds))
    path = write_config(simulated, tmp_path / "out", cohort={"folds": {"path": str(tmp_path / "folds.json")}})
    assert command(monkeypatch, "audit", path) == 1
    said = capsys.readouterr().out
    assert "folds.json puts 1 patient of 20 test patients into the training half too: SIM-0020" in said


def test_a_path_that_is_no_run_is_refused_with_what_to_name(tmp_path: Path):
    with pytest.raises(ConfigError, match="holds no run"):
        configuration_of(tmp_path)
    with pytest.raises(ConfigError, match="there is no"):
        configuration_of(tmp_path / "nothing.yaml")


@pytest.mark.usefixtures("shared")
def test_the_kidney_cohort_has_shared_patients_and_floor_values(tmp_path: Path):
    config = load_config(CONFIGS / "rcc_published_folds.yaml").model_copy(update={"output": tmp_path / "out"})
    found = audit(config).findings
    assert {finding.where: finding.size for finding in found if finding.check == "patients in both halves"} == {
        "fold 0": 15,
        "fold 1": 10,
        "fold 2": 3,
        "fold 3": 10,
        "fold 4": 13,
    }
    (floors,) = (finding for finding in found if finding.check == "expression that gives away by artefact")
    assert (floors.severity, floors.size, floors.where) == ("leak", 294, "column 'oncotree_code'")
    survival = [finding for finding in found if finding.check == "site confounded with survival"]
    assert [(one.severity, one.where) for one in survival] == [
        ("warning", "oncotree_code"),  # three diseases, of which one is mild
        ("warning", "tissue source site of the barcode"),
    ]
    assert len(found) == 8
