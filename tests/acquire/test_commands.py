"""The commands, as they are given."""

from __future__ import annotations

import json

import pytest
import yaml
from typer.testing import CliRunner

from mirror.acquire.settings import ABOUT, PARTS, RecipeConfig, recipe_names
from mirror.cli.app import app
from mirror.simulate.archive import Served

TOKEN = "a-token-that-nobody-may-see"


def run(*arguments):
    done = CliRunner().invoke(app, ["data", *map(str, arguments)])
    return done.exit_code, " ".join(done.output.split())


def test_recipes_and_parts_are_listed_and_shown_as_files():
    code, said = run("list")
    assert code == 0
    assert all(name in said for name in (*recipe_names(), *PARTS))
    assert set(ABOUT) == set(PARTS)
    done = CliRunner().invoke(app, ["data", "list", "--show", "rcc"])
    assert RecipeConfig.model_validate(yaml.safe_load(done.output)).name == "rcc"


def test_projects_are_those_of_the_gdc(simulate):
    made = simulate("rcc")
    code, said = run("list", "--projects", "--settings", made.settings)
    assert code == 0
    for project in made.recipe.projects:
        assert project in said
        assert str(sum(person.project == project for person in made.people)) in said


def test_a_plan_says_files_bytes_patients_and_time_and_fetches_nothing(simulate, tmp_path):
    made = simulate()
    folder = tmp_path / "d"
    code, said = run("plan", "brca", "--output", folder, "--settings", made.settings, "--bandwidth", "0.001")
    assert code == 0, said
    slides = {person.name for person in made.people if person.slides}
    expressed = {person.name for person in made.people if person.expressed}
    assert f"40 patients: {len(slides)} with a diagnostic slide, {len(expressed)} with a tumour's expression" in said
    assert f"{len(slides & expressed)} with both" in said
    assert "gdc has Data Release 45.0 - December 04, 2025" in said
    assert "6 is recorded at first fetch; nothing was fetched" in said
    assert "at the measured speed of one connection a source and 0.001 MB/s at most" in said
    megabytes = sum(served.size for path, served in made.archive.content.files.items() if "/media/" in path) / 1e6
    minutes = megabytes / 0.001 / 60
    assert f"0:{int(minutes):02d}:" in said or f"0:{int(minutes) + 1:02d}:" in said
    assert [path.name for path in folder.iterdir()] == ["lock.json"]
    done = CliRunner().invoke(
        app, ["data", "plan", "brca", "--output", str(folder), "--settings", str(made.settings), "--json"]
    )
    found = json.loads(done.stdout)
    assert (found["patients"], found["with_slide"], found["with_both"]) == (40, len(slides), len(slides & expressed))
    assert found["bytes"] == sum(part["bytes"] for part in found["parts"])
    assert found["files"] == sum(part["files"] for part in found["parts"])
    assert found["unpinned"] == 6


def test_a_controlled_file_comes_with_the_token_which_is_nowhere_afterwards(simulate, tmp_path):
    made = simulate()
    content = made.archive.content
    record = next(one for one in content.hits["files"] if one["data_type"] == "Slide Image")
    record["access"] = "controlled"
    path = f"/gdc/data/{record['file_id']}"
    content.files[path] = Served(content.files[path].body, token=TOKEN)
    settings = yaml.safe_load(made.settings.read_text()) | {"access": "controlled"}
    made.settings.write_text(yaml.safe_dump(settings))
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    folder = tmp_path / "d"
    asked = ("fetch", "brca", "--output", folder, "--parts", "slides", "--settings", made.settings)
    code, said = run(*asked)
    assert code == 1
    assert "1 files are of controlled access" in said
    code, said_with = run(*asked, "--token", tmp_path / "token")
    assert code == 0, said_with
    assert (folder / "slides" / record["file_name"]).exists()
    assert TOKEN not in said + said_with
    assert all(TOKEN.encode() not in path.read_bytes() for path in folder.rglob("*") if path.is_file())
    sent = [path for _, path, headers in made.archive.requests if TOKEN in str(headers)]
    assert set(sent) == {path}


def test_verify_says_what_is_wrong_and_ends_with_one(simulate, tmp_path):
    made = simulate()
    folder = tmp_path / "d"
    asked = ("brca", "--output", folder, "--settings", made.settings, "--parts")
    assert run("fetch", *asked, "genes")[0] == 0
    # Files of an earlier plan are looked at too.
    assert run("fetch", *asked, "slides")[0] == 0
    code, said = run("verify", folder)
    assert code == 0, said
    slides = len(list((folder / "slides").iterdir()))
    assert f"{slides + 1} sound" in said
    assert "the sources have the releases of the lock" in said
    made.archive.content.release = "Data Release 46.0"
    code, said = run("verify", folder)
    assert code == 0
    assert "newer gdc had 'Data Release 45.0 - December 04, 2025' and has 'Data Release 46.0'" in said
    (folder / "genes" / made.recipe.genes.archive).write_bytes(b"something else")
    code, said = run("verify", folder, "--offline")
    assert code == 1
    assert f"genes/{made.recipe.genes.archive}: another size" in said
    done = CliRunner().invoke(app, ["data", "verify", str(folder), "--json"])
    found = json.loads(done.stdout)
    assert (done.exit_code, found["sound"], len(found["news"])) == (1, False, 1)
    states = {file["path"]: file["state"] for file in found["files"]}
    assert states.pop(f"genes/{made.recipe.genes.archive}") == "another size"
    assert set(states.values()) == {"sound"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("plan", "brca", "--parts", "slide"), "--parts names what does not exist: - 'slide'; did you mean 'slides'?"),
        (("plan", "brcaa"), "there is no recipe 'brcaa'; did you mean 'brca'?"),
        (("refine", "brca", "--symbol", "Gene"), "--symbol is the column of --curated FILE"),
        (("fetch", "brca", "--token", "nowhere"), "there is no token file nowhere"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_asked(tmp_path, arguments, said):
    code, found = run(*arguments, "--output", tmp_path / "d")
    assert (code, said in found) == (1, True), found
    assert not (tmp_path / "d").exists()
