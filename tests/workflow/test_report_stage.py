"""The page of a finished job: its numbers are the scores, and nothing on it tells where the user's files lie."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from small_job import embedded, write_config
from typer.testing import CliRunner

from mirror.artefacts import read_json, write_json
from mirror.cli.app import app
from mirror.config import Config, load_config
from mirror.data.cohort import Cohort
from mirror.errors import ArtefactError
from mirror.evaluation.report.names import metric_label, protocol_label, task_label
from mirror.evaluation.scores import read_intervals, read_scores, summarise
from mirror.workflow.audit import audit_file
from mirror.workflow.cohort import cohort_folder, prepare_cohort
from mirror.workflow.evaluate import evaluate_runs
from mirror.workflow.evaluation_files import intervals_file, scores_file
from mirror.workflow.report import data_file, report_file, write_report


def reported(config: Config, representations: Sequence[str] | None = None) -> str:
    embedded(config)
    evaluate_runs(config, representations=representations)
    return write_report(config).read_text(encoding="utf-8")


def settled(simulated: Path, folder: Path, **cohort: Any) -> Config:
    """The small job on a copy of the data, in folders that no page may name.

    One slide's features are damaged, and three patients have no expression.
    """
    data = folder / "secret disk" / "our data"
    shutil.copytree(simulated, data)
    (data / "features" / "SIM-LOST-DX1.h5").write_bytes(b"no features")
    expression = data / "expression.csv.gz"
    pd.read_csv(expression).iloc[3:].to_csv(expression, index=False)
    features = {"path": str(data / "features"), "on_bad": "exclude"}
    return load_config(write_config(data, folder / "secret output", cohort={"features": features, **cohort}))


@pytest.fixture(scope="module")
def config(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    return settled(simulated, tmp_path_factory.mktemp("reported"))


@pytest.fixture(scope="module")
def page(config: Config) -> str:
    return reported(config)


def cells(page: str) -> dict[tuple[str, str, str, str], str]:
    """What the tables of scores show: task, representation, protocol, metric -> the text of the cell."""
    found: dict[tuple[str, str, str, str], str] = {}
    tables = re.findall(r'aria-label="Scores for ([^",]+), ([^"]+)">(.*?)</table>', page, re.DOTALL)
    for task, metric, table in tables:
        protocols = re.findall(r'<th scope="col">([^<]+)</th>', table)
        for name, row in re.findall(r'<th scope="row" title="([^"]+)">[^<]*</th>(.*?)</tr>', table, re.DOTALL):
            texts = [re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)]
            found |= {(task, name, one, metric): text for one, text in zip(protocols, texts, strict=True)}
    return found


def test_every_number_of_the_tables_is_that_of_the_scores(config: Config, page: str) -> None:
    summary = summarise(read_scores(scores_file(config)))
    assert (summary["undefined"] == 0).all()
    intervals = read_intervals(intervals_file(config))[["task", "representation", "protocol", "metric", "low", "high"]]
    assert cells(page) == {
        (
            task_label(row.task),
            row.representation,
            protocol_label(row.protocol),
            metric_label(row.metric),
        ): f"{row.mean:.3f}\N{PLUS-MINUS SIGN}{row.sd:.3f}"
        + ("" if math.isnan(row.low) else f"{row.low:.3f} to {row.high:.3f}")  # chance has no interval
        for row in summary.merge(
            intervals, on=["task", "representation", "protocol", "metric"], how="left"
        ).itertuples()
    }


def test_the_page_names_files_and_no_place_on_a_disk(config: Config, page: str) -> None:
    quoted = prepare_cohort(config).excluded
    damaged = quoted[quoted["item"] == "SIM-LOST-DX1"].iloc[0]
    assert "secret disk" in damaged["reason"] and "secret disk" in damaged["source"]
    assert "SIM-LOST-DX1.h5 is unreadable" in page and "slides.csv" in page
    assert "secret disk" not in page and "our data" not in page
    assert "secret output/" not in page and "/secret output" not in page
    drawn_or_styled = r"<style>.*?</style>|<svg.*?</svg>|</?\w+|/?>"
    words = re.sub(drawn_or_styled, " ", page, flags=re.DOTALL)
    assert re.findall(r"(?<![\w.)])/\w[^\s]*|[A-Za-z]:\\\\|~/", words) == []


def test_what_was_run_is_said_in_words_and_short_hashes(config: Config, page: str) -> None:
    facts = dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<]*)</dd>", page.split('id="run"')[1].split("</dl>")[0]))
    inputs = Cohort.load(cohort_folder(config)).facts["inputs"]
    assert facts["Seeds"] == "0"
    assert facts["Folds"] == "2, stratified, from seed 0"
    assert facts["Tile features"] == "simulated, 12 numbers a tile"
    assert facts["Expression"] == "log2(RSEM), simulated"
    assert facts["Inputs by hash"] == "; ".join(f"{name} {mark[:12]}" for name, mark in inputs.items())
    assert set(inputs) == {"slides", "expression", "clinical", "features"}
    assert f"\N{MIDDLE DOT} {facts['Finished']}</p>" in page


def test_patients_without_expression_are_told_of_once(config: Config, page: str) -> None:
    assert (~prepare_cohort(config).patients["has_expression"]).sum() == 3
    assert re.findall(r"(\w+ patients?) (?:without|have no) expression", page) == ["3 patients"]


def test_survival_alone_leaves_no_section_on_subtypes(simulated: Path, tmp_path: Path) -> None:
    survival = {"time": "survival_months", "event": "event", "event_convention": "one_is_event"}
    path = str(tmp_path / "secret disk" / "our data" / "clinical.csv")
    config = settled(simulated, tmp_path, clinical={"path": path, **survival})
    page = reported(config, ["slide", "aligned", "fused", "raw_fused"])
    assert {task for task, *_ in cells(page)} == {"survival", "retrieval"}
    assert "<h3>Survival</h3>" in page and "<h3>Subtype</h3>" not in page
    asked = page.split("What was asked</dt><dd>")[1].split("</dd>")[0]
    assert "survival" in asked and "subtype" not in asked


def test_equal_files_give_an_equal_page_be_they_named_by_configuration_or_folder(config: Config, page: str) -> None:
    told = CliRunner().invoke(app, ["report", str(config.output), "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout) == read_json(data_file(config))
    assert report_file(config).read_text(encoding="utf-8") == page


@pytest.mark.usefixtures("page")
@pytest.mark.parametrize("command", ["report", "audit"])
def test_a_configuration_that_is_not_of_the_run_is_refused_with_what_differs(
    config: Config, tmp_path: Path, command: str
) -> None:
    written = yaml.safe_load((config.output / "job.yaml").read_text())
    written["cohort"]["clinical"] |= {"label": "site", "time_unit": "days"}
    del written["cohort"]["clinical"]["classes"]
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(written))
    there = [report_file(config), data_file(config), audit_file(config)]
    before = [file.read_bytes() for file in there]
    told = CliRunner().invoke(app, [command, str(other)])
    assert told.exit_code == 1
    said = " ".join(told.stderr.split())
    assert "`cohort.clinical.label` is 'site', was 'subtype'" in said
    assert "`cohort.clinical.time_unit` is 'days', was 'months'" in said
    assert "`cohort.clinical.classes` is left out, was" in said
    assert "name the configuration it was joined by" in said
    assert [file.read_bytes() for file in there] == before


@pytest.mark.usefixtures("page")
def test_a_cohort_that_an_earlier_version_joined_is_compared_with_what_its_runs_were_made_by(
    config: Config, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    shutil.copytree(config.output, output)
    content = read_json(output / "cohort" / "cohort.json")
    del content["facts"]["settings"]
    write_json(output / "cohort" / "cohort.json", content)
    own = config.model_copy(update={"output": output})
    assert write_report(own).exists()
    clinical = config.cohort.clinical
    assert clinical is not None
    changed = config.cohort.model_copy(update={"clinical": clinical.model_copy(update={"time_unit": "days"})})
    with pytest.raises(ArtefactError, match="time_unit` is 'days', was 'months'"):
        write_report(own.model_copy(update={"cohort": changed}))


@pytest.mark.usefixtures("page")
def test_a_report_by_other_settings_of_training_names_the_run_and_the_key(config: Config) -> None:
    other = config.model_copy(update={"pretraining": config.pretraining.model_copy(update={"epochs": 7, "workers": 3})})
    with pytest.raises(ArtefactError, match=r"fold0 and 1 more: `pretraining.epochs` is 7, was 3$"):
        write_report(other)


@pytest.mark.usefixtures("page")
def test_scores_of_the_cohort_before_it_was_joined_anew_are_refused(config: Config, tmp_path: Path) -> None:
    output = tmp_path / "out"
    shutil.copytree(config.output, output)
    clinical = config.cohort.clinical
    assert clinical is not None
    changed = clinical.model_copy(update={"time_unit": "years"})
    cohort = config.cohort.model_copy(update={"clinical": changed})
    own = config.model_copy(update={"output": output, "cohort": cohort})
    prepare_cohort(own)
    with pytest.raises(ArtefactError, match=r"joined anew .* run `mirror evaluate` first"):
        write_report(own)


def test_a_folder_without_runs_is_refused_in_a_sentence(tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert told.exit_code == 1 and "holds no run" in " ".join(told.output.split())


def test_a_report_before_the_scores_names_the_stage_to_run(job: Config) -> None:
    prepare_cohort(job)
    with pytest.raises(ArtefactError, match="mirror evaluate"):
        write_report(job)
    assert not (job.output / "report.html").exists()


def test_the_audit_and_the_data_lie_beside_the_page(config: Config, page: str) -> None:
    data = read_json(data_file(config))
    assert data["kind"] == "report" and data["audit"]["leaks"] == 0
    assert read_json(audit_file(config))["checks"] == data["audit"]["checks"]
    assert "The audit found nothing in 8 checks." in page
    means = summarise(read_scores(scores_file(config)))["mean"].round(9).tolist()
    assert [round(row["mean"], 9) for row in data["scores"]] == means
