"""A model goes from the one who trained it to the one who uses it, and says what it is on the way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import anndata
import h5py
import huggingface_hub
import numpy as np
import pandas as pd
import pytest
import yaml
from small_job import CANONICAL, write_config
from typer.testing import CliRunner

import mirror
from mirror.cli.app import app
from mirror.config import load_config
from mirror.data.cohort import Cohort
from mirror.data.feature_store import Bag
from mirror.errors import ArtefactError, ConfigError, DataError
from mirror.evaluation.embed import load_embeddings
from mirror.evaluation.scores import read_intervals, read_predictions
from mirror.tasks import model_folder
from mirror.tasks.model_folder import MODEL_SCHEMA, ModelFolder
from mirror.training.runs import RunFolder

ROOT = Path(__file__).resolve().parents[2]
UNITS = "log2(RSEM), simulated"


def call(*words: str | Path, code: int = 0) -> str:
    """Run the command line in this process; what it said, in one line."""
    done = CliRunner().invoke(app, list(map(str, words)))
    said = " ".join((done.output + getattr(done, "stderr", "")).split())
    assert done.exit_code == code, said
    return said


@pytest.fixture(scope="module")
def simulated(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cohort of the small job, whose feature files name a magnification besides, as those of TRIDENT do."""
    folder = tmp_path_factory.mktemp("magnified") / "simulated"
    shutil.copytree(simulated, folder, ignore=shutil.ignore_patterns("features"))
    with_attributes(simulated, folder / "features", target_magnification=20.0)
    return folder


@pytest.fixture(scope="module")
def job(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a finished job of the default preset."""
    config = write_config(simulated, tmp_path_factory.mktemp("finished") / "out", form=CANONICAL)
    for stage in ("cohort", "pretrain", "embed", "evaluate"):
        call(stage, config)
    return config


@pytest.fixture(scope="module")
def run(job: Path) -> RunFolder:
    return RunFolder(job.parent / "runs" / "seed0" / "fold0")


@pytest.fixture(scope="module")
def model(job: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of fold 0, handed on."""
    folder = tmp_path_factory.mktemp("handed") / "model"
    call("export", job, "--fold", "0", "--output", folder)
    return folder


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    shutil.copytree(model, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture(scope="module")
def expected(run: RunFolder) -> anndata.AnnData:
    """What the run itself says of its cohort."""
    return load_embeddings(run.embeddings)


def inputs(simulated: Path) -> dict[str, object]:
    return {
        "features": simulated / "features",
        "patients": simulated / "slides.csv",
        "expression": simulated / "expression.csv.gz",
        "units": UNITS,
    }


def same(found: anndata.AnnData, expected: anndata.AnnData) -> None:
    """Every view of every slide to 1e-6 of the run's own."""
    assert list(found.obs_names) == list(expected.obs_names)
    assert set(found.obsm) == set(expected.obsm)
    for view in expected.obsm:
        np.testing.assert_allclose(found.obsm[view], expected.obsm[view], rtol=1e-6, atol=1e-6)


def test_a_handed_on_model_gives_the_numbers_of_its_run(
    model: Path, simulated: Path, expected: anndata.AnnData
) -> None:
    same(mirror.load(model).embed(**inputs(simulated)), expected)


@pytest.mark.slow
def test_it_gives_them_in_a_fresh_environment(
    model: Path, simulated: Path, expected: anndata.AnnData, tmp_path: Path
) -> None:
    """The wheel alone, installed elsewhere, the model alone, moved elsewhere, one line."""
    pytest.importorskip("setuptools", reason="building the wheel offline needs setuptools, which is not here")
    source = source_alone(tmp_path / "source")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    wheel = ["install", "--no-deps", "--no-build-isolation", "--target", str(tmp_path / "site"), str(source)]
    subprocess.run([*pip, *wheel], check=True, capture_output=True)
    environment = {"PYTHONPATH": str(tmp_path / "site")}
    same(embedded_elsewhere(sys.executable, environment, model, simulated, tmp_path, tmp_path / "site"), expected)


@pytest.mark.slow
def test_it_gives_them_where_nothing_but_the_core_is_installed(
    model: Path, simulated: Path, expected: anndata.AnnData, tmp_path: Path
) -> None:
    """As the README has it: a virtual environment, the pinned versions, no extra. The whole job runs there too."""
    source = source_alone(tmp_path / "source")
    pins = str(source / "constraints.txt")
    pip = ["-m", "pip", "--disable-pip-version-check", "-q"]
    probe = [*pip, "download", "--no-deps", "-c", pins, "-d", str(tmp_path / "probe"), "natsort"]
    if subprocess.run([sys.executable, *probe], capture_output=True).returncode:
        pytest.skip("pip reaches no package index from here")
    if shutil.disk_usage(tmp_path).free < 12e9:
        pytest.skip("torch and its libraries need 12 GB of disk for as long as the test runs")
    place = tmp_path / "environment"
    try:
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        python = str(place / "bin" / "python")
        subprocess.run([python, *pip, "install", "-c", pins, str(source)], check=True)
        found = embedded_elsewhere(python, {}, model, simulated, tmp_path, place)
        config = write_config(simulated, tmp_path / "job" / "out", form=CANONICAL)
        for words in (["doctor", str(tmp_path)], ["run", str(config)]):
            subprocess.run([str(place / "bin" / "mirror"), *words], check=True, env={"PATH": "/usr/bin:/bin"})
        assert (config.parent / "report.html").is_file()
    finally:
        shutil.rmtree(place, ignore_errors=True)
    same(found, expected)


def source_alone(folder: Path) -> Path:
    """What a package is built of, without what lies about in a checkout."""
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


def embedded_elsewhere(
    python: str, environment: dict[str, str], model: Path, simulated: Path, folder: Path, installed: Path
) -> anndata.AnnData:
    """The simulated cohort by the model alone, moved, in an empty place, by the package that is `installed` there."""
    shutil.copytree(model, folder / "elsewhere")
    place = folder / "empty"
    place.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(place), **environment}
    where = [python, "-c", "import mirror; print(mirror.__file__)"]
    found = subprocess.run(where, cwd=place, env=environment, check=True, capture_output=True, text=True).stdout
    assert found.startswith(str(installed))
    command = ["embed", str(simulated / "features"), "--model", str(folder / "elsewhere"), "--output", "new.h5ad"]
    command += ["--slides", str(simulated / "slides.csv"), "--units", UNITS]
    command += ["--expression", str(simulated / "expression.csv.gz")]
    subprocess.run([python, "-m", "mirror", *command], cwd=place, env=environment, check=True)
    return load_embeddings(place / "new.h5ad")


def test_importing_the_package_loads_nothing_heavy() -> None:
    script = (
        "import sys, mirror; print(mirror.load.__name__, sorted({'torch', 'pandas', 'anndata'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["load", "[]"]


def test_arrays_and_a_data_frame_give_the_same_as_files(
    model: Path, simulated: Path, expected: anndata.AnnData
) -> None:
    bags = {path.stem: Bag(path).read() for path in (simulated / "features").glob("*.h5")}
    owners = pd.read_csv(simulated / "slides.csv").set_index("slide_id")["case_id"].to_dict()
    table = pd.read_csv(simulated / "expression.csv.gz", index_col="case_id")
    found = mirror.load(model).embed(bags, patients=owners, expression=table.T, units=UNITS, genes_in_rows=True)
    same(found, expected)
    assert set(found.uns["excluded"]["item"]) == {"SIM-STRAY-DX1"}


def test_slides_alone_embed_without_any_table(model: Path, simulated: Path, expected: anndata.AnnData) -> None:
    found = mirror.load(model).embed(simulated / "features")
    shared = [name for name in found.obs_names if name in expected.obs_names]
    np.testing.assert_allclose(found[shared].obsm["X_slide"], expected[shared].obsm["X_slide"], atol=1e-6)
    assert np.isnan(found.obsm["X_expression"]).all()
    assert list(found.obs["patient"]) == list(found.obs_names)


def test_expression_alone_embeds_too(model: Path, simulated: Path, expected: anndata.AnnData, tmp_path: Path) -> None:
    of_run = expected.to_memory()[~expected.obs["patient"].duplicated().to_numpy()]
    names = [
        name
        for name in of_run.obs["patient"]
        if not np.isnan(of_run[of_run.obs["patient"] == name].obsm["X_expression"]).any()
    ]
    wanted = of_run[of_run.obs["patient"].isin(names)]
    found = mirror.load(model).embed(None, expression=simulated / "expression.csv.gz", units=UNITS)
    rows = [list(found.obs["patient"]).index(name) for name in wanted.obs["patient"]]
    for view in ("X_expression", "X_align_expression"):
        np.testing.assert_allclose(found.obsm[view][rows], wanted.obsm[view], rtol=1e-6, atol=1e-6)
    assert np.isnan(found.obsm["X_slide"]).all()
    assert np.isnan(found.obsm["X_fused"]).all()
    assert len(found.uns["excluded"]) == 0
    some = tmp_path / "some"
    some.mkdir()
    slide = str(wanted.obs_names[0])
    source = next((simulated / "features").glob(f"{slide}.*"))
    shutil.copy(source, some / source.name)
    given = {**inputs(simulated), "features": some, "patients": {slide: str(wanted.obs["patient"].iloc[0])}}
    mixed = mirror.load(model).embed(**given, without_slide="keep")
    assert len(mixed) == len(found)
    assert mixed.obs_names[0] == slide
    assert not np.isnan(mixed.obsm["X_fused"][0]).any()
    assert np.isnan(mixed.obsm["X_fused"][1:]).all()
    assert not np.isnan(mixed.obsm["X_expression"]).any()
    left = mirror.load(model).embed(**given)
    assert (len(left), len(left.uns["excluded"])) == (1, len(found) - 1)
    with pytest.raises(DataError, match="there is nothing to embed"):
        mirror.load(model).embed(None)


def test_a_configuration_embeds_with_a_handed_on_model_too(
    model: Path, job: Path, expected: anndata.AnnData, tmp_path: Path
) -> None:
    call("embed", job, "--model", model, "--output", tmp_path / "new.h5ad")
    same(load_embeddings(tmp_path / "new.h5ad"), expected)


def test_no_patient_and_no_folder_of_the_maker_is_in_it(model: Path, job: Path, simulated: Path) -> None:
    patients = list(Cohort.load(job.parent / "cohort").patients.index)
    for path in model.iterdir():
        content = path.read_bytes()
        assert [name for name in patients if name.encode() in content] == []
        assert [word for word in (str(simulated), str(job.parent)) if word.encode() in content] == []


def test_patients_are_named_where_that_is_wanted_and_known_again(
    run: RunFolder, simulated: Path, model: Path, tmp_path: Path
) -> None:
    call("export", run.path, "--output", tmp_path / "named", "--name-patients")
    trained_on = set(run.read_record()["patients"])
    found = mirror.load(tmp_path / "named").embed(**inputs(simulated)).obs
    assert dict(zip(found["patient"], found["role"], strict=True)) == {
        name: "train" if name in trained_on else "new" for name in found["patient"]
    }
    unnamed = mirror.load(model).embed(**inputs(simulated)).obs
    assert set(unnamed["role"]) == {"unknown"}


def test_a_fold_hands_on_its_own_scores_with_intervals_beside_the_baselines(model: Path, job: Path) -> None:
    facts = mirror.load(model).facts
    predictions = read_predictions(job.parent / "predictions.parquet")
    mine = predictions[(predictions["fold"] == 0) & (predictions["representation"] == "fused")]
    scores = {(row.representation, row.protocol, row.metric): row for row in facts.scores}
    linear = mine[mine["protocol"] == "linear"]
    right = float((linear["label"] == linear["predicted"]).mean())
    accuracy = scores["fused", "linear", "accuracy"]
    assert accuracy.value == pytest.approx(right)
    assert accuracy.low is not None
    assert accuracy.high is not None
    assert accuracy.low <= right <= accuracy.high
    assert accuracy.patients == linear["patient"].nunique()
    assert ("raw_fused", "linear", "accuracy") in scores
    assert "this very model" in facts.scores_are


def test_a_model_of_everybody_has_the_scores_of_the_cross_validation_and_says_so(job: Path, tmp_path: Path) -> None:
    call("export", job, "--all-patients", "--output", tmp_path / "all", "--license", "cc-by-nc-4.0")
    facts = mirror.load(tmp_path / "all").facts
    cohort = Cohort.load(job.parent / "cohort")
    assert facts.trained_on.fold is None
    assert facts.trained_on.patients == int(cohort.patients["has_expression"].sum())
    table = read_intervals(job.parent / "intervals.parquet")
    expected = {
        tuple(row[:3]): row[3] for row in table[["representation", "protocol", "metric", "estimate"]].to_numpy()
    }
    assert {(row.representation, row.protocol, row.metric): row.value for row in facts.scores} == {
        key: None if np.isnan(value) else pytest.approx(value) for key, value in expected.items()
    }
    card = (tmp_path / "all" / "README.md").read_text()
    assert "no patient of this cohort is left to judge it on" in " ".join(card.split())
    assert not (job.parent / "runs" / "seed0" / "fold-1").exists()
    call("evaluate", job)  # the run of everybody is none of the folds that are judged


def test_the_hub_reads_the_card(model: Path) -> None:
    card = huggingface_hub.ModelCard((model / "README.md").read_text())
    assert card.data.license == "other"
    assert card.data.library_name == "mirror-pathology"
    assert card.data.eval_results
    named = {result.metric_name: result.metric_value for result in card.data.eval_results}
    facts = mirror.load(model).facts
    value = next(
        row.value
        for row in facts.scores
        if (row.representation, row.protocol, row.metric) == ("fused", "linear", "auroc")
    )
    assert named["subtype, linear probe: AUROC"] == pytest.approx(value, abs=5e-5)


def test_scores_of_another_training_are_not_handed_on(job: Path, simulated: Path, tmp_path: Path) -> None:
    output = tmp_path / "again"
    shutil.copytree(job.parent, output)
    config = write_config(simulated, output, form=CANONICAL, pretraining={"epochs": 1})
    call("pretrain", config, "--fold", "0", "--overwrite")
    said = call("export", config, "--fold", "0", "--output", tmp_path / "model", code=1)
    assert "run `mirror embed` and `mirror evaluate` again" in said
    call("export", config, "--fold", "0", "--output", tmp_path / "model", "--without-scores")
    assert mirror.load(tmp_path / "model").facts.scores == ()


def test_which_model_is_meant_is_asked_for(job: Path, run: RunFolder, model: Path, tmp_path: Path) -> None:
    assert "--all-patients" in call("export", job, "--output", tmp_path / "m", code=1)
    assert "a folder is a run already" in call("export", run.path, "--fold", "0", "--output", tmp_path / "m", code=1)
    assert "--overwrite" in call("export", run.path, "--output", model, code=1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("all of it")
    said = call("export", run.path, "--output", tmp_path / "full", "--overwrite", code=1)
    assert "thesis.tex" in said
    assert (tmp_path / "full" / "thesis.tex").read_text() == "all of it"


def with_attributes(simulated: Path, folder: Path, **attributes: object) -> Path:
    """The simulated features with other facts about them."""
    shutil.copytree(simulated / "features", folder)
    for path in folder.glob("*.h5"):
        with h5py.File(path, "a") as file:
            file.attrs.update(attributes)
    return folder


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"encoder": "uni"}, "come from 'uni', the model was trained on 'simulated'"),
        ({"mpp": 0.25}, "saw 0.25 um/px, the model was trained at 0.5 um/px"),
        ({"tile_px": 256}, "tiles are 256 px wide, the model was trained on tiles of 512 px"),
        ({"target_magnification": 10.0}, "are of 10x, as the files say, the model was trained on tiles of 20x"),
    ],
)
def test_features_of_another_kind_are_refused_with_the_remedy(
    model: Path, simulated: Path, tmp_path: Path, attributes: dict[str, object], words: str
) -> None:
    folder = with_attributes(simulated, tmp_path / "features", **attributes)
    said = call("embed", folder, "--model", model, "--output", tmp_path / "new.h5ad", code=1)
    assert words in said
    assert "extract them" in said
    assert not (tmp_path / "new.h5ad").exists()


def test_a_cohort_of_another_magnification_is_refused_unless_the_model_knows_none(
    copy: Path, simulated: Path, tmp_path: Path
) -> None:
    assert "| magnification, as files name it | 20x |" in (copy / "README.md").read_text()
    folder = with_attributes(simulated, tmp_path / "features", target_magnification=10.0)
    config = write_config(simulated, tmp_path / "out", form=CANONICAL)
    content = yaml.safe_load(config.read_text())
    content["cohort"]["features"]["path"] = str(folder)
    config.write_text(yaml.safe_dump(content))
    command = ("embed", config, "--model", copy, "--output", tmp_path / "new.h5ad")
    assert "are of 10x" in call(*command, code=1)
    expects = json.loads((copy / "config.json").read_text())["expects"]
    assert expects.pop("magnification") == 20
    rewritten(copy, expects=expects)  # as an earlier version wrote it
    call(*command)


def test_a_scanner_that_differs_by_some_percent_is_not_refused(model: Path, simulated: Path, tmp_path: Path) -> None:
    folder = with_attributes(simulated, tmp_path / "features", mpp=0.4609)
    assert len(mirror.load(model).embed(folder)) > 0


def test_arrays_of_another_kind_are_refused(model: Path) -> None:
    loaded = mirror.load(model)
    bag = {"s1": np.zeros((4, 12), dtype=np.float32)}
    with pytest.raises(DataError, match="width 7, the model reads 12"):
        loaded.embed({"s1": np.zeros((4, 7), dtype=np.float32)})
    with pytest.raises(DataError, match="come from 'uni'"):
        loaded.embed(bag, encoder="uni")
    with pytest.raises(DataError, match="1 um/px"):
        loaded.embed(bag, mpp=1.0)
    with pytest.raises(DataError, match="of 10x"):
        loaded.embed(bag, magnification=10.0)
    with pytest.raises(DataError, match="NaN"):
        loaded.embed({"s1": np.full((4, 12), np.nan, dtype=np.float32)})


def test_expression_in_other_units_is_refused_and_never_guessed(model: Path, simulated: Path) -> None:
    with pytest.raises(DataError, match=r"is in 'z-score', the panel was fitted on 'log2\(RSEM\), simulated'"):
        mirror.load(model).embed(**{**inputs(simulated), "units": "z-score"})
    with pytest.raises(ConfigError, match="never guessed"):
        mirror.load(model).embed(**{**inputs(simulated), "units": None})


def rewritten(folder: Path, **changes: object) -> Path:
    content = {**json.loads((folder / "config.json").read_text()), **changes}
    (folder / "config.json").write_text(json.dumps(content))
    return folder


def test_a_model_of_a_later_schema_is_refused_with_the_version_to_install(copy: Path) -> None:
    rewritten(copy, schema=MODEL_SCHEMA + 1, package={"name": "mirror-pathology", "version": "9.1.0"})
    with pytest.raises(ArtefactError, match=r'pip install --upgrade "mirror-pathology>=9\.1\.0"'):
        mirror.load(copy)


def test_a_model_of_an_earlier_schema_is_read(
    copy: Path, simulated: Path, expected: anndata.AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a later version of the package reads today's: its schema is higher, and it knows what has changed since."""

    def renamed(content: dict[str, object]) -> dict[str, object]:
        return {**content, "schema": MODEL_SCHEMA + 1, "scores_are": f"before: {content['scores_are']}"}

    monkeypatch.setattr(model_folder, "UPGRADES", {MODEL_SCHEMA: renamed})
    monkeypatch.setattr(model_folder, "MODEL_SCHEMA", MODEL_SCHEMA + 1)
    loaded = mirror.load(copy)
    assert loaded.facts.scores_are.startswith("before: ")
    same(loaded.embed(**inputs(simulated)), expected)


def test_what_a_later_version_says_besides_does_no_harm(copy: Path, simulated: Path, expected: anndata.AnnData) -> None:
    rewritten(copy, package={"name": "mirror-pathology", "version": "9.1.0"}, carbon={"kg": 0.1})
    same(mirror.load(copy).embed(**inputs(simulated)), expected)


@pytest.mark.parametrize("name", ["model.safetensors", "panel.json", "config.json"])
def test_a_damaged_or_lost_file_is_named(copy: Path, name: str) -> None:
    whole = (copy / name).read_bytes()
    (copy / name).write_bytes(whole[:-7])
    with pytest.raises(ArtefactError, match=f"{name} is damaged"):
        mirror.load(copy)
    (copy / name).unlink()
    with pytest.raises(ArtefactError, match=f"{name}"):
        mirror.load(copy)


def test_files_of_two_models_do_not_make_one(copy: Path, job: Path, tmp_path: Path) -> None:
    call("export", job, "--fold", "1", "--output", tmp_path / "other")
    shutil.copy(tmp_path / "other" / "panel.json", copy)
    with pytest.raises(ArtefactError, match="of another model"):
        mirror.load(copy)


@pytest.fixture
def hub(model: Path, tmp_path: Path) -> dict[str, str]:
    """An environment without network whose cache holds the model, laid out as the hub's library does it."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hf" / "hub" / "models--lab--brca"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "blobs").mkdir()
    (repository / "snapshots" / commit).mkdir(parents=True)
    for number, path in enumerate(sorted(model.iterdir())):
        blob = repository / "blobs" / f"{number:040x}"
        shutil.copy(path, blob)
        (repository / "snapshots" / commit / path.name).symlink_to(Path("../../blobs") / blob.name)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return {**environment, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}


@pytest.mark.slow
def test_a_model_of_the_hub_is_used_offline_from_the_cache(
    hub: dict[str, str], simulated: Path, expected: anndata.AnnData, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "mirror", "embed", str(simulated / "features"), "--model"]
    options = ["--slides", str(simulated / "slides.csv"), "--units", UNITS, "--output", "new.h5ad"]
    options += ["--expression", str(simulated / "expression.csv.gz")]
    place = tmp_path / "here"
    place.mkdir()
    subprocess.run([*command, "lab/brca", *options], check=True, env=hub, cwd=place)
    same(load_embeddings(place / "new.h5ad"), expected)
    other = [*command, "lab/brca", "--revision", "v2", *options]
    ended = subprocess.run(other, env=hub, cwd=place, capture_output=True, text=True)
    assert ended.returncode == 1
    said = " ".join(ended.stderr.split())
    assert "neither in the cache nor to be had" in said
    assert "HF_HOME" in said


def test_what_is_neither_folder_nor_name_is_said_to_be_neither(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no folder no such thing"):
        mirror.load("no such thing")
    with pytest.raises(ArtefactError, match=r"no config\.json"):
        mirror.load(tmp_path)


def test_an_imported_run_is_handed_on_too(shared: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    recorded = load_file(shared / "parity" / "published_small.safetensors")
    state = {name.removeprefix("weights."): t for name, t in recorded.items() if name.startswith("weights.")}
    torch.save(state, tmp_path / "theirs.pth")
    call("import-weights", tmp_path / "theirs.pth", "--output", tmp_path / "run", "--encoder", "uni")
    call("export", tmp_path / "run", "--output", tmp_path / "model")
    loaded = mirror.load(tmp_path / "model")
    width = loaded.facts.expects.width
    bags = {"a": np.random.default_rng(0).normal(size=(17, width)).astype(np.float32)}
    run = call("embed", tmp_path, "--model", tmp_path / "model", code=1)  # a folder without features
    assert "has no .pt or .h5" in run
    found = loaded.embed(bags)
    assert np.isfinite(found.obsm["X_slide"]).all()
    assert "checkpoint of the authors' code" in (tmp_path / "model" / "README.md").read_text()
    assert yaml.safe_load((tmp_path / "model" / "README.md").read_text().split("---")[1])["license"] == "other"


def test_the_settings_in_it_make_a_configuration_again(model: Path, job: Path) -> None:
    settings = json.loads((model / "config.json").read_text())["settings"]
    assert settings["model"] == load_config(job).model.model_dump(mode="json")
    assert ModelFolder(model).read_facts().settings["cohort"]["features"]["path"] == "features"
