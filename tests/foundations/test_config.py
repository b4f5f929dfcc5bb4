"""The configuration: closed, complete, and clear about what is wrong with it."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any

import pytest
import yaml

import mirror.config
from mirror.artefacts import fingerprint
from mirror.config import (
    CanonicalModelConfig,
    Config,
    Section,
    changes_from_preset,
    dump_config,
    load_config,
    preset_names,
    read_preset,
    resolve,
)
from mirror.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
MINIMAL: dict[str, Any] = {
    "name": "tiny",
    "output": "out",
    "cohort": {"features": {"path": "features"}, "slides": {"path": "slides.csv"}},
}


def changed(**sections: Any) -> dict[str, Any]:
    return {**MINIMAL, **sections}


@pytest.mark.parametrize("name", sorted(path.name for path in CONFIGS.glob("*.yaml")))
def test_every_shipped_configuration_is_complete(name: str) -> None:
    assert isinstance(load_config(CONFIGS / name), Config)


def test_a_resolved_configuration_reads_back_as_itself(tmp_path: Path) -> None:
    config = resolve(MINIMAL, where=tmp_path / "tiny.yaml")
    (tmp_path / "resolved.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "resolved.yaml") == config


def test_paths_are_relative_to_the_file_they_stand_in(tmp_path: Path) -> None:
    config = resolve(MINIMAL, where=tmp_path / "deep" / "tiny.yaml")
    assert config.cohort.slides.path == tmp_path / "deep" / "slides.csv"
    assert config.output == tmp_path / "deep" / "out"


def test_what_a_file_says_wins_over_its_preset_and_the_rest_is_the_presets() -> None:
    config = resolve(changed(model={"components": 8}), where=Path("x.yaml"))
    mirror = read_preset("mirror")
    assert config.model == CanonicalModelConfig.model_validate({**mirror["model"], "components": 8})
    assert config.pretraining.learning_rate == mirror["pretraining"]["learning_rate"]


def test_a_key_of_the_other_kind_of_model_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown key `model\.width`"):
        resolve(changed(model={"width": 96}), where=Path("x.yaml"))
    with pytest.raises(ConfigError, match=r"unknown key `model\.components`"):
        resolve(changed(preset="published", model={"components": 8}), where=Path("x.yaml"))


@pytest.mark.parametrize(
    ("wrong", "key", "meant"),
    [
        ({"pretraining": {"epoch": 3}}, "pretraining.epoch", "epochs"),
        ({"modell": {}}, "modell", "model"),
        ({"pretraining": {"weights": {"alignement": 1.0}}}, "pretraining.weights.alignement", "alignment"),
        ({"cohort": {**MINIMAL["cohort"], "clinicl": {}}}, "cohort.clinicl", "clinical"),
        ({"preset": "publishd"}, "publishd", "published"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(wrong: dict[str, Any], key: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=meant) as caught:
        resolve(changed(**wrong), where=Path("mine.yaml"))
    assert key in str(caught.value)


def test_numbers_that_yaml_takes_for_words_are_numbers() -> None:
    # YAML 1.1 reads 2e-5, without a point, as a string.
    content = {**MINIMAL, **yaml.safe_load("pretraining: {learning_rate: 2e-5}")}
    assert resolve(content, where=Path("x.yaml")).pretraining.learning_rate == 2e-5


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"preset": "published", "model": {"width": 100}}, "multiple of `slide_heads`"),
        ({"pretraining": {"batch": 1}}, "greater than or equal to 2"),
        ({"pretraining": {"learning_rate": -1}}, "greater than 0"),
        (
            {"cohort": {**MINIMAL["cohort"], "clinical": {"path": "c.csv", "time": "t", "event": "e"}}},
            "event_convention",
        ),
        ({"cohort": {**MINIMAL["cohort"], "clinical": {"path": "c.csv", "classes": ["A"]}}}, "`label`"),
        ({"cohort": {"slides": {"path": "s.csv"}}}, "`cohort.features` is missing"),
        ({"pretraining": {"tiles": 1}}, "hides all of `pretraining.tiles: 1`"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_read(section: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        resolve(changed(**section), where=Path("x.yaml"))


def test_a_file_that_is_no_mapping_or_no_yaml_is_named(tmp_path: Path) -> None:
    for text in ("- a list\n", "key: [unclosed\n"):
        path = tmp_path / "bad.yaml"
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"bad\.yaml"):
            load_config(path)
    with pytest.raises(ConfigError, match=r"gone\.yaml"):
        load_config(tmp_path / "gone.yaml")


def test_a_folder_in_the_place_of_a_configuration_is_answered_with_those_in_it(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"is a folder, where a configuration file \(.yaml\) is asked for, and has none$"
    ):
        load_config(tmp_path)
    (tmp_path / "study.yaml").touch()
    with pytest.raises(ConfigError, match=r"which has .*study\.yaml$"):
        load_config(tmp_path)


def test_each_preset_fills_in_every_section_it_must() -> None:
    for name in preset_names():
        assert resolve(changed(preset=name), where=Path("x.yaml")).preset == name


def test_what_is_set_otherwise_than_the_preset_is_known() -> None:
    sections = {"model": {"components": 8}, "pretraining": {"weights": {"style": 0.3}}}
    found = changes_from_preset(resolve(changed(**sections), where=Path("x.yaml")))
    assert found == {"model.components": 8, "pretraining.weights.style": 0.3}
    assert changes_from_preset(resolve(MINIMAL, where=Path("x.yaml"))) == {}


def test_a_section_of_any_file_is_a_name_of_the_package() -> None:
    files = [
        importlib.import_module(f"mirror.config.{file.name}") for file in pkgutil.iter_modules(mirror.config.__path__)
    ]
    defined = {
        name: one
        for file in files
        for name, one in vars(file).items()
        if isinstance(one, type) and issubclass(one, Section) and one.__module__ == file.__name__
    }
    assert len(defined) > 15
    assert {name: getattr(mirror.config, name, None) for name in defined} == defined
    assert set(defined) <= set(mirror.config.__all__)


def test_a_cohort_keeps_the_fingerprint_that_it_was_made_under() -> None:
    # Recorded. A new key moves it, and with it every cohort that was ever made, unless it is left out where not used.
    cohort = {
        **MINIMAL["cohort"],
        "expression": {"path": "e.csv", "orientation": "patients_in_rows", "units": "counts"},
        "clinical": {"path": "c.csv", "label": "type", "time": "t", "event": "e", "event_convention": "one_is_event"},
    }
    config = resolve(changed(cohort=cohort), where=Path("/x.yaml"))
    assert fingerprint(config.cohort.model_dump(mode="json")) == "2a1e06f273f316b177b8b15e"
