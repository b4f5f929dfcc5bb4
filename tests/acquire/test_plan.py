"""Truths about plans: what a recipe comes to, and what happens when a source has moved on."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from dataclasses import replace

import pytest
from misbehaving import answers, cuts, refuses_head, says, trickles

from mirror.acquire.client import Client, SourceError
from mirror.acquire.lock import Lock
from mirror.acquire.plan import make_lock, plan, planned
from mirror.acquire.plan_summary import Speed, measure, part_sizes, seconds, with_expression, with_slide
from mirror.acquire.settings import RECORDED, RecipeConfig, load_recipe, recipe_names
from mirror.acquire.sources import gdc
from mirror.errors import ArtefactError, ConfigError

EVERYTHING = ("slides", "star", "clinical", "survival", "genes", "hipt", "toil")
NEWER = "Data Release 46.0 - August 10, 2026"


def test_the_room_needs_neither_torch_nor_pandas():
    code = "import sys, mirror.acquire.verify, mirror.acquire.tables, mirror.acquire.fetch; "
    code += "print(sorted({'torch', 'pandas', 'anndata'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", recipe_names())
def test_a_plan_counts_what_the_sources_hold(simulate, name):
    made = simulate(name, parts=EVERYTHING)
    lock = make_lock(made.recipe, Client(made.recipe.transfer))
    slides = [slide for person in made.people for slide in person.slides]
    assert lock.patients == tuple(sorted(person.name for person in made.people))
    assert lock.slides == {slide: slide[:12] for slide in slides}
    assert with_slide(lock) == {person.name for person in made.people if person.slides}
    assert with_expression(lock) == {person.name for person in made.people if person.expressed}
    counts = {row.part: (row.files, row.bytes) for row in part_sizes(lock)}
    assert counts["slides"] == (len(slides), 2000 * len(slides))
    assert counts["hipt"][0] == len(slides)
    assert counts["star"][0] == sum(person.expressed for person in made.people)
    assert counts["survival"] == (2 * len(made.recipe.studies.studies), 0)
    assert counts["toil"][1] == sum(
        served.size for path, served in made.archive.content.files.items() if path.startswith("/xena/")
    )


def test_a_plan_fetches_no_file(simulate):
    made = simulate(parts=EVERYTHING)
    make_lock(made.recipe, Client(made.recipe.transfer))
    asked = [path for method, path, _ in made.archive.requests if method == "GET" and "/data/" in path]
    assert asked == []
    assert not [path for _, path, _ in made.archive.requests if path.startswith("/media/")]


def test_searches_go_on_to_the_last_page(simulate, monkeypatch):
    made = simulate(parts=("clinical", "slides"))
    whole = make_lock(made.recipe, Client(made.recipe.transfer))
    monkeypatch.setattr(gdc, "PAGE", 7)
    paged = make_lock(made.recipe, Client(made.recipe.transfer))
    assert paged.patients == whole.patients
    assert paged.of_part("slides") == whole.of_part("slides")
    assert len(paged.of_part("clinical")) == 6


def test_a_search_that_stops_before_its_total_is_an_error(simulate):
    made = simulate(parts=("clinical",))
    page = {"data": {"hits": [], "pagination": {"total": 40}}}
    made.archive.always["/gdc/cases"] = answers(page)
    with pytest.raises(SourceError, match="stops at 0 of 40 results"):
        make_lock(made.recipe, Client(made.recipe.transfer))


def test_another_service_in_the_place_of_the_gdc_is_named(simulate):
    made = simulate()
    made.archive.always["/gdc/status"] = answers({"up": True})
    with pytest.raises(SourceError, match="/gdc/status names no data_release; is this an API of the GDC"):
        make_lock(made.recipe, Client(made.recipe.transfer))


def test_a_project_that_nobody_knows_is_named(simulate):
    made = simulate(parts=("clinical",))
    other = made.recipe.model_copy(update={"projects": ("TCGA-XXXX",)})
    with pytest.raises(SourceError, match="has no case of TCGA-XXXX; `mirror data list --projects` names projects"):
        make_lock(other, Client(made.recipe.transfer))


@pytest.mark.parametrize("path", ["/gdc/files", "/cbioportal/studies/brca_tcga_pan_can_atlas_2018"])
def test_a_source_that_fails_now_and_then_is_asked_again(simulate, path):
    made = simulate(parts=EVERYTHING)
    whole = make_lock(made.recipe, Client(made.recipe.transfer))
    made.archive.once(path, says(500), says(429, Retry_After="0"), answers({}))
    if path == "/gdc/files":
        made.archive.queue[path].pop()
        assert make_lock(made.recipe, Client(made.recipe.transfer)).files == whole.files
    else:
        with pytest.raises(SourceError, match="does not describe the study"):
            make_lock(made.recipe, Client(made.recipe.transfer))


def test_the_size_of_a_file_is_had_where_head_is_refused(simulate):
    made = simulate(parts=("toil",))
    whole = make_lock(made.recipe, Client(made.recipe.transfer))
    for path in made.archive.content.files:
        if path.startswith("/xena/"):
            made.archive.always[path] = refuses_head
    assert make_lock(made.recipe, Client(made.recipe.transfer)).files == whole.files


def test_samples_are_read_from_the_first_bytes_of_the_matrix_alone(simulate):
    made = simulate(parts=("toil",))
    path = f"/xena/{made.recipe.toil.matrix}"
    served = made.archive.content.files[path]
    names = gzip.decompress(served.read(0, served.size)).decode().split("\n")[0].split("\t")[1:]
    lock = make_lock(made.recipe, Client(made.recipe.transfer))
    own = {person.name for person in made.people}
    assert lock.samples == {name: name[:12] for name in names if name[:12] in own}


def test_the_measured_speed_is_the_servers(simulate):
    made = simulate(parts=("slides",))
    lock = make_lock(made.recipe, Client(made.recipe.transfer))
    file = lock.files[0]
    for one in lock.files:
        made.archive.always[f"/gdc/data/{one.url.rsplit('/', 1)[1]}"] = trickles(100, 0.01)
    speed = measure(lock, Client(made.recipe.transfer), probe=1)["gdc"]
    size = max(one.size for one in lock.files)
    # The server rests between pieces, whoever reads them late: all of it cannot come in less than its rests.
    assert speed.latency + size / speed.rate >= (size // 100 - 1) * 0.01 > 0
    one = seconds([replace(file, size=10_000)], {"gdc": Speed(1000.0, 0.5)}, workers=1, bandwidth=None)
    assert one == 10.5
    several = [replace(file, size=0)] * 8
    assert seconds(several, {"gdc": Speed(1000.0, 0.5)}, workers=4, bandwidth=None) == 1.0
    held = seconds([replace(file, size=10_000)], {"gdc": Speed(1e6, 0)}, workers=1, bandwidth=0.001)
    assert held == 10.0


def test_a_probe_that_breaks_off_is_made_again(simulate):
    made = simulate(parts=("toil",))
    lock = make_lock(made.recipe, Client(made.recipe.transfer))
    made.archive.once(f"/xena/{made.recipe.toil.matrix}", cuts(100))
    assert measure(lock, Client(made.recipe.transfer), probe=1)["xena"].rate > 0


def test_a_recipe_of_another_release_is_refused(simulate):
    made = simulate(release=NEWER)
    with pytest.raises(SourceError, match=r"is for 'Data Release 46.0.*which now has 'Data Release 45.0"):
        make_lock(made.recipe, Client(made.recipe.transfer))


def test_a_changed_release_between_plan_and_fetch_is_refused_with_what_changed(simulate, tmp_path):
    made = simulate(parts=("slides", "clinical"))
    client = Client(made.recipe.transfer)
    lock = plan(made.recipe, tmp_path / "d", client)
    assert planned(made.recipe, tmp_path / "d", client) == lock
    content = made.archive.content
    content.release = NEWER
    files = [record for record in content.hits["files"] if record["data_type"] == "Slide Image"]
    files[0]["md5sum"] = "0" * 32
    content.hits["files"].remove(files[1])
    said = "0 files are new, 1 gone, 1 changed.*gdc had 'Data Release 45.*' and has 'Data Release 46"
    for ask in (planned, plan):
        with pytest.raises(SourceError, match=f"(?s){said}"):
            ask(made.recipe, tmp_path / "d", client)
    assert Lock.load(tmp_path / "d") == lock
    renewed = plan(made.recipe, tmp_path / "d", client, renew=True)
    assert renewed.releases["gdc"] == NEWER
    assert len(renewed.of_part("slides")) == len(lock.of_part("slides")) - 1


def test_a_lock_is_held_on_to_where_its_checksums_can_tell(simulate, tmp_path):
    made = simulate(parts=("slides",))
    client = Client(made.recipe.transfer)
    lock = plan(made.recipe, tmp_path / "d", client)
    made.archive.content.release = NEWER
    assert planned(made.recipe, tmp_path / "d", client, locked=True) == lock
    with_documents = plan(
        made.recipe.model_copy(update={"parts": ("slides", "clinical")}), tmp_path / "e", Client(made.recipe.transfer)
    )
    made.archive.content.release = "Data Release 47.0"
    with pytest.raises(SourceError, match=r"no checksum when they were planned(?s:.)*clinical/gdc_cases.000.json"):
        planned(made.recipe, tmp_path / "e", client, locked=True)
    assert Lock.load(tmp_path / "e") == with_documents


def test_without_a_lock_there_is_nothing_to_hold_on_to(simulate, tmp_path):
    made = simulate()
    with pytest.raises(SourceError, match=r"has no lock.json, so there is nothing to hold on to"):
        planned(made.recipe, tmp_path, Client(made.recipe.transfer), locked=True)


def test_a_lock_survives_the_round_trip_and_damage_is_named(simulate, tmp_path):
    made = simulate(parts=EVERYTHING)
    lock = plan(made.recipe, tmp_path / "d", Client(made.recipe.transfer))
    assert Lock.load(tmp_path / "d") == lock
    path = tmp_path / "d" / "lock.json"
    content = json.loads(path.read_text())
    content["files"][0]["path"] = "../../elsewhere"
    path.write_text(json.dumps(content))
    with pytest.raises(ArtefactError, match="leads out of the output folder"):
        Lock.load(tmp_path / "d")
    del content["files"][0]["path"]
    path.write_text(json.dumps(content))
    with pytest.raises(ArtefactError, match="a file of the lock is damaged"):
        Lock.load(tmp_path / "d")


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b.svs", "..", ""])
def test_a_name_that_leads_elsewhere_is_never_a_path(simulate, name):
    made = simulate(parts=("slides",))
    made.archive.content.hits["files"][0]["file_name"] = name
    with pytest.raises(Exception, match="which is no name of a file"):
        make_lock(made.recipe, Client(made.recipe.transfer))


def test_controlled_files_are_planned_only_where_the_recipe_asks(simulate):
    made = simulate(parts=("slides",))
    record = next(one for one in made.archive.content.hits["files"] if one["data_type"] == "Slide Image")
    record["access"] = "controlled"
    everybody = len(made.archive.content.hits["files"])
    opened = make_lock(made.recipe, Client(made.recipe.transfer))
    assert record["file_name"] not in {file.path.removeprefix("slides/") for file in opened.files}
    both = make_lock(made.recipe.model_copy(update={"access": "controlled"}), Client(made.recipe.transfer))
    assert len(both.files) == len(opened.files) + 1
    assert [file.controlled for file in both.files].count(True) == 1
    assert everybody > len(both.files)


def test_a_pointer_of_git_lfs_gives_size_and_checksum_and_anything_else_is_refused(simulate):
    made = simulate(parts=("hipt",))
    lock = make_lock(made.recipe, Client(made.recipe.transfer))
    assert all(file.checksum.startswith("sha256:") and file.size > 5000 for file in lock.files)
    path = next(path for path in made.archive.content.files if path.startswith("/raw/"))
    made.archive.content.files[path] = replace(made.archive.content.files[path], body=b"<html>not found</html>")
    with pytest.raises(SourceError, match="is no pointer of git LFS"):
        make_lock(made.recipe, Client(made.recipe.transfer))


@pytest.mark.parametrize("name", recipe_names())
def test_the_recipes_say_what_is_not_known(name):
    recipe = load_recipe(name)
    assert recipe.release == RECORDED
    assert set(recipe.checksums.values()) == {RECORDED}
    assert recipe.toil.transcripts == 197_044
    assert len(recipe.hipt.commit) == 40


def test_a_checksum_of_the_recipe_is_the_files(simulate):
    made = simulate(parts=("genes",), checksums={"genes/IntOGen-Drivers-20240920.zip": "md5:" + "0" * 32})
    assert make_lock(made.recipe, Client(made.recipe.transfer)).files[0].checksum == "md5:" + "0" * 32


def test_a_project_of_the_gdc_is_a_recipe_too_and_nonsense_is_not(tmp_path):
    assert load_recipe("TCGA-BLCA").projects == ("TCGA-BLCA",)
    with pytest.raises(ConfigError, match="there is no recipe 'brac'; did you mean 'brca'"):
        load_recipe("brac")
    (tmp_path / "own.yaml").write_text(
        "name: own\nprojects: [TCGA-BLCA]\nparts: [genes]\ngenes: {path: list.csv, symbol: Gene}\n"
    )
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "settings.yaml").write_text("transfer: {workers: 1}\n")
    own = load_recipe(str(tmp_path / "own.yaml"), settings=tmp_path / "s" / "settings.yaml")
    assert own.genes.path == tmp_path / "list.csv"  # from the file it stands in, not from that of the settings
    assert own.transfer.workers == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"parts": ["survival"], "studies": None}, "the part `survival` needs `studies`"),
        ({"projects": []}, "`projects` is empty"),
        ({"checksums": {"a": "abc"}}, "does not name its kind"),
    ],
)
def test_recipes_that_contradict_themselves_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        RecipeConfig.model_validate(load_recipe("brca").model_dump() | change)
