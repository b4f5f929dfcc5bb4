"""`mirror view`, the real command on a real run: what it answers, and what it refuses."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import numpy as np
import pandas as pd
import pytest
from looked_at import BARE, EXPLAINED, GRID, NAKED, PICTURED, PLAIN, TILE_PX
from served import served_here
from typer.testing import CliRunner

from mirror.artefacts import read_json, write_json
from mirror.cli.app import app
from mirror.data.cohort import Cohort
from mirror.data.feature_file import BagFacts, write_bag
from mirror.data.feature_store import Bag, find_bags
from mirror.errors import ArtefactError, ConfigError
from mirror.evaluation.embed import load_embeddings
from mirror.evaluation.prototypes import membership
from mirror.explain.patient_genes import write_patient_genes
from mirror.seeding import rng_for
from mirror.viewer import tiles
from mirror.viewer.contents import Contents, ShownRun, Unknown
from mirror.viewer.maps import by_gene, genes_like, map_of
from mirror.viewer.page_files import static_files
from mirror.viewer.patient import Patients
from mirror.viewer.relevance import Damaged, Relevance
from mirror.workflow.view import view

NASTY = ("../secret", "..", "/etc/passwd", "..%2fsecret", "%2e%2e/secret", "C:\\secret", "\0", "SIM-0000-DX1/../x", "")


def ask(
    page: str,
    path: str,
    *,
    method: str = "GET",
    host: str | None = None,
    sent: Mapping[str, str] = {},
    **query: object,
):
    """Status, headers and content, the path sent as it is."""
    place = urlsplit(page).netloc
    connection = http.client.HTTPConnection(place, timeout=30)
    whole = f"{path}?{urlencode(query)}" if query else path
    connection.putrequest(method, whole, skip_host=True)
    connection.putheader("Host", host or place)
    for name, value in sent.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content


def told(page: str, path: str, **query: object):
    status, _, content = ask(page, path, **query)
    assert status == 200, content
    return json.loads(content)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"])
def test_nothing_but_reading_is_answered(page: str, method: str) -> None:
    for path in ("/", "/data/cohort", "/nothing"):
        status, headers, _ = ask(page, path, method=method)
        assert status == 405 and headers["allow"] == "GET, HEAD", path
    assert ask(page, "/data/cohort", method="HEAD")[0] == 200


@pytest.mark.parametrize(
    "sent",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
    ],
    ids=lambda sent: " ".join(sent.values()),
)
def test_another_page_can_neither_start_work_nor_ask_for_anything(page: str, sent: Mapping[str, str]) -> None:
    assert ask(page, "/data/explain", method="POST", sent=sent, slide=BARE)[0] == 403
    for path, query in (("/data/nearest", {"slide": EXPLAINED, "tile": 3}), ("/data/cohort", {})):
        status, headers, content = ask(page, path, sent=sent, **query)
        assert status == 403 and b"SIM-" not in content and "content-security-policy" in headers
    assert ask(page, "/", sent=sent)[0] == 200  # it may lead here
    assert told(page, "/data/slide", slide=BARE)["layers"] == []


def test_work_is_started_by_this_page_and_by_no_address(page: str) -> None:
    for method in ("GET", "HEAD"):
        status, headers, _ = ask(page, "/data/explain", method=method, slide=BARE)
        assert status == 405 and headers["allow"] == "POST"
    assert told(page, "/data/slide", slide=BARE)["layers"] == []
    own = {"Origin": page.rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    status, _, content = ask(page, "/data/explain", method="POST", sent=own, slide=EXPLAINED)  # which has layers
    assert status == 200 and [one["name"] for one in json.loads(content)["layers"]] == ["risk", "attention"]
    assert ask(page, "/data/explain", method="POST", sent=own, slide="../secret")[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "0.0.0.0", "[::1]"])
def test_a_page_elsewhere_that_lets_its_own_name_point_here_is_refused(page: str, host: str) -> None:
    status, headers, content = ask(page, "/data/cohort", host=host)
    assert status == 400 and b"SIM-" not in content and "content-security-policy" in headers
    port = urlsplit(page).port
    for own in (f"127.0.0.1:{port}", f"localhost:{port}", "localhost"):
        assert ask(page, "/data/cohort", host=own)[0] == 200


def test_it_listens_on_this_machine_alone(page: str) -> None:
    port = urlsplit(page).port
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = {row[1] for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == port}
    assert listening == {f"0100007F:{port:04X}"}
    with socket.socket() as other:
        other.settimeout(2)
        assert other.connect_ex(("127.0.0.2", port)) != 0


@pytest.mark.parametrize("name", NASTY)
def test_nothing_outside_the_cohort_can_be_asked_for(page: str, run: Path, name: str) -> None:
    (run.parent / "secret").write_text("not to be seen")
    asked = [
        ("/data/slide", {"slide": name}),
        ("/data/layer", {"slide": name, "layer": "x"}),
        ("/data/layer", {"slide": EXPLAINED, "layer": name}),
        ("/data/map", {"run": name, "view": "slide"}),
        ("/data/map", {"run": "seed0/fold0", "view": name}),
        ("/data/patient", {"name": name}),
        ("/data/gene", {"name": name}),
        ("/data/similar", {"slide": name, "tile": 0}),
        ("/data/nearest", {"slide": name, "tile": 0}),
        ("/picture/tile", {"slide": name, "tile": 0}),
        ("/picture/piece", {"slide": name, "level": 9, "column": 0, "row": 0}),
        ("/picture/piece", {"slide": EXPLAINED, "level": name, "column": 0, "row": 0}),
    ]
    for path, query in asked:
        status, _, content = ask(page, path, **query)
        assert status in (400, 404) and set(json.loads(content)) == {"error"}, (path, query)
    for path in (f"/{name}", f"/{quote(name, safe='')}", f"/data/{quote(name, safe='/')}", f"/./{quote(name)}"):
        if name and "\0" not in path:
            assert ask(page, path)[0] == 404, path


def test_numbers_that_are_none_and_places_that_are_not_there_are_refused(page: str) -> None:
    for wrong in ("-1", "1e3", "0x1", "99999999999", "", "²", "1;2"):
        assert ask(page, "/data/similar", slide=EXPLAINED, tile=wrong)[0] == 400, wrong
    assert ask(page, "/data/similar", slide=EXPLAINED, tile=GRID * GRID)[0] == 404
    assert ask(page, "/data/nearest", slide=EXPLAINED, tile=GRID * GRID)[0] == 404
    assert ask(page, "/picture/piece", slide=EXPLAINED, level=9, column=7, row=0)[0] == 404
    assert ask(page, "/picture/piece", slide=EXPLAINED, level=99, column=0, row=0)[0] == 404
    assert ask(page, "/picture/tile", slide=BARE, tile=0)[0] == 404


def test_a_browser_asks_once_for_the_files_of_a_version_and_gets_each_before_it_is_needed(page: str) -> None:
    _, headers, content = ask(page, "/")
    assert headers["cache-control"] == "no-cache" and headers["content-type"].startswith("text/html")
    files = {path: file for path, file in static_files().items() if path != "/"}
    for path, file in files.items():
        status, headers, got = ask(page, path)
        assert status == 200 and got == file.body and "immutable" in headers["cache-control"], path
    named = set(re.findall(r'(?:href|src)="(/[^"]+)"', content.decode())) - {"/data/cohort"}
    assert named == {path for path in files if not path.endswith(".txt")}
    assert ask(page, "/page.js")[0] == 404


def test_every_answer_tells_the_browser_to_load_nothing_from_elsewhere(page: str) -> None:
    script = next(path for path in static_files() if path.endswith("page.js"))
    for path in ("/", script, "/data/cohort", "/nothing", "/data/slide?slide=x"):
        headers = ask(page, path)[1]
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'self';") and "unsafe" not in policy and "*" not in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers and "server" not in headers
    for path, file in static_files().items():
        text = bytes(file.body).decode() if not path.endswith("openseadragon.min.js") else ""
        assert "https://" not in text and "http://" not in text.replace("http://www.w3.org/", ""), path


def test_a_slide_says_what_there_is_of_it(page: str) -> None:
    full = told(page, "/data/slide", slide=EXPLAINED)
    assert (full["picture"]["width"], full["picture"]["height"]) == (GRID * TILE_PX, GRID * TILE_PX)
    assert full["side"] == TILE_PX and full["side_from"] == "file" and full["tiles"] == GRID * GRID
    assert [layer["name"] for layer in full["layers"]] == ["risk", "attention"]
    assert {layer["role"] for layer in full["layers"]} == {"test"}
    bare, naked = told(page, "/data/slide", slide=BARE), told(page, "/data/slide", slide=NAKED)
    assert (
        bare["picture"] is None
        and bare["side"] == 1024
        and bare["side_from"] == "file"
        and len(bare["x"]) == bare["tiles"]
    )
    assert (
        naked["picture"] is None
        and naked["x"] is None
        and "no coordinates" in naked["unplaced"]
        and f"--slide {NAKED}" in naked["command"]
    )


@pytest.mark.parametrize("slide", [NAKED, PLAIN])
def test_no_layer_is_computed_that_could_not_be_drawn(page: str, slide: str) -> None:
    assert told(page, "/data/slide", slide=slide)["can_explain"] is False
    assert told(page, "/data/slide", slide=BARE)["can_explain"] is True
    status, _, content = ask(page, "/data/explain", method="POST", slide=slide)
    assert status == 404 and "no coordinates" in json.loads(content)["error"]
    assert told(page, "/data/slide", slide=slide)["layers"] == []


def test_pieces_and_tiles_are_pictures_that_a_browser_keeps_to_itself(page: str) -> None:
    pyramid = told(page, "/data/slide", slide=EXPLAINED)["picture"]
    query = {"slide": EXPLAINED, "level": pyramid["least_level"], "column": 0, "row": 0}
    for path, asked in (("/picture/piece", query), ("/picture/tile", {"slide": EXPLAINED, "tile": 9})):
        status, headers, content = ask(page, path, **asked)
        assert status == 200 and content[:3] == b"\xff\xd8\xff" and headers["cache-control"].startswith("private")


def test_the_map_has_every_slide_and_every_profile_once(contents: Contents) -> None:
    one = contents.run("seed0/fold0")
    cohort = contents.cohort
    found = {
        name: pd.DataFrame(map_of(contents, one, name)["points"]) for name in ("both", "slide", "expression", "fused")
    }
    assert sorted(found["slide"]["slide"]) == sorted(cohort.owners)
    assert sorted(found["expression"]["patient"]) == sorted(cohort.expression.patients)
    both = found["both"]
    assert (both["modality"] == "slide").sum() == len(cohort.owners)
    assert (both["modality"] == "expression").sum() == len(cohort.expression.patients)
    fused = np.isfinite(load_embeddings(one.embeddings).obsm["X_fused"]).all(axis=1)
    assert len(found["fused"]) == fused.sum()
    assert all(both["role"] == [one.role_of(patient) for patient in both["patient"]])


def test_points_have_a_colour_by_label_role_fold_and_risk(contents: Contents) -> None:
    for one in contents.runs.values():
        by = {each["key"]: each for each in map_of(contents, one, "slide")["colourings"]}
        assert list(by) == ["label", "role", "fold", "risk", "prototype"]
        names = [entry["name"] for entry in by["role"]["legend"]]
        for patient in contents.slides_of:
            assert names[by["role"]["classes"][patient]] == one.role_of(patient)
        directions = one.prototypes()
        assert directions is not None
        belonging = membership(load_embeddings(one.embeddings), directions)
        assert belonging is not None
        called = [entry["name"] for entry in by["prototype"]["legend"]]
        for patient, number in zip(belonging.patients, belonging.prototype, strict=True):
            assert called[by["prototype"]["classes"][patient]] in (f"prototype {number}", called[7:] and called[7])
        for each in by.values():
            assert set(each["classes"]) == set(contents.slides_of)
            assert max(each["classes"].values()) < len(each["legend"])


def test_points_have_a_colour_by_any_gene_in_fifths_that_equal_values_share(contents: Contents) -> None:
    table = contents.cohort.expression
    assert table is not None
    gene = table.genes[3]
    found = by_gene(contents, gene)
    assert found["key"] == f"gene:{gene}" and found["title"] == f"{gene}, {table.units}"
    place = {patient: found["classes"][patient] for patient in table.patients}
    by_value = sorted(zip(table.values[:, 3].tolist(), table.patients, strict=True))
    order = [place[patient] for _, patient in by_value]
    assert order == sorted(order) and np.ptp(np.bincount(order)) <= 1 and max(order) == 4
    assert found["legend"][0]["name"] == f"lowest fifth: {by_value[0][0]:.3g} to {by_value[order.index(1) - 1][0]:.3g}"
    without = set(contents.slides_of) - set(table.patients)
    assert without and {found["classes"][patient] for patient in without} == {5}
    assert found["legend"][5]["name"] == "no expression"
    flat = np.where(np.arange(len(table.values)) < len(table.values) // 2, 0.0, table.values[:, 3])
    tied = replace(contents.cohort, expression=replace(table, values=flat[:, None], genes=("G",)))
    classes = by_gene(replace(contents, cohort=tied), "G")["classes"]
    assert len({classes[patient] for patient in table.patients[: len(flat) // 2]}) == 1
    with pytest.raises(Unknown):
        by_gene(contents, gene.lower())


def test_genes_are_listed_as_a_reader_types_those_that_begin_so_first(contents: Contents) -> None:
    table = contents.cohort.expression
    assert table is not None
    short = replace(table, genes=("XTP53", "TP53", "TP53BP1", *table.genes[3:]))
    found = genes_like(replace(contents, cohort=replace(contents.cohort, expression=short)), " tp53 ")
    assert found == ["TP53", "TP53BP1", "XTP53"]
    assert genes_like(contents, "nothing is called so") == [] and len(genes_like(contents, "")) == len(table.genes)


def test_tiles_are_told_apart_whatever_all_of_them_have_in_common(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = rng_for(0, "tiles in common")
    features = rng.standard_normal((4, 9, 6)).astype(np.float32)
    shift, by = 50 * rng.standard_normal(6), np.array([1, 2, 4, 8, 1, 1])
    every = []
    for folder, shown in (("plain", features), ("common", features * by + shift)):
        paths = {f"S{at}": tmp_path / folder / f"S{at}.h5" for at in range(4)}
        for path, rows in zip(paths.values(), shown, strict=True):
            write_bag(path, rows.astype(np.float32), facts=BagFacts(encoder="e"))
        every.append(tiles.Tiles(tiles.open_store(paths), {name: name for name in paths}))
    plain, common = ([*one.nearest("S0", 4, count=8, others=True)][-1].nearest for one in every)
    assert [one[:2] for one in plain] == [one[:2] for one in common]
    np.testing.assert_allclose([one.cosine for one in plain], [one.cosine for one in common], atol=0.01)  # of float16
    raw = (features * by + shift).reshape(-1, 6)
    raw /= np.linalg.norm(raw, axis=1, keepdims=True)
    assert (raw @ raw[4]).min() > 0.9 > 0.5 > plain[-1].cosine  # as they come, all look alike
    monkeypatch.setattr(tiles, "SLIDES", 2)
    monkeypatch.setattr(tiles, "TILES", 3)
    some = tiles.Tiles(tiles.open_store(paths), {name: name for name in paths}).scale
    stored = (features * by + shift).astype(np.float16).astype(float)
    np.testing.assert_allclose(some.mean, stored[[0, 3]][:, [0, 4, 8]].mean(axis=(0, 1)), rtol=1e-5)


def test_the_nearest_tiles_are_those_of_a_plain_search_of_everything_a_block_at_a_time(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = Cohort.load(run.parent / "run" / "cohort")
    slide, tile = EXPLAINED, 17
    every = [(name, row) for name, path in cohort.paths.items() for row in range(Bag(path).tiles)]
    features = np.concatenate([Bag(path).read() for path in cohort.paths.values()]).astype(np.float64)
    features = (features - features.mean(axis=0)) / features.std(axis=0)  # the cohort is small: all tiles count
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosines = unit @ unit[every.index((slide, tile))]
    some = tiles.Tiles(tiles.open_store(cohort.paths), cohort.owners, held_bytes=4 * features[:100].size)
    assert some.scale.mean.shape == (12,)
    monkeypatch.setattr(tiles, "_BLOCK_BYTES", 4 * 12 * 5)
    read: list[int] = []
    plain = Bag.read
    monkeypatch.setattr(Bag, "read", lambda bag, rows=None: (read.append(len(rows)), plain(bag, rows))[1])
    for others in (True, False, True):
        allowed = [
            at
            for at, (name, row) in enumerate(every)
            if (cohort.owners[name] != cohort.owners[slide] if others else (name, row) != (slide, tile))
        ]
        expected = sorted(allowed, key=lambda at: -cosines[at])[:12]
        *_, last = some.nearest(slide, tile, count=12, others=others)
        assert [(one.slide, one.tile) for one in last.nearest] == [every[at] for at in expected]
        np.testing.assert_allclose([one.cosine for one in last.nearest], cosines[expected], atol=1e-5)
    assert max(read) == 5
    own = slice(every.index((slide, 0)), every.index((slide, 0)) + GRID * GRID)
    np.testing.assert_allclose(some.similar(slide, tile), cosines[own], atol=1e-5)
    with pytest.raises(Unknown):
        next(some.nearest(slide, GRID * GRID, count=12, others=True))


def test_a_second_search_reads_what_has_no_place_in_memory_and_the_same_one_nothing(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = Cohort.load(run.parent / "run" / "cohort")
    read: list[str] = []
    plain = Bag.read
    monkeypatch.setattr(Bag, "read", lambda bag, rows=None: (read.append(bag.path.stem), plain(bag, rows))[1])

    def searched(some: tiles.Tiles, tile: int) -> tuple[list[tiles.Step], int]:
        read.clear()
        steps = list(some.nearest(EXPLAINED, tile, count=5, others=True))
        return steps, len(read)

    others = sum(owner != cohort.owners[EXPLAINED] for owner in cohort.owners.values())
    every, none = (tiles.Tiles(tiles.open_store(cohort.paths), cohort.owners, held_bytes=size) for size in (1 << 30, 0))
    assert every.scale.mean.tolist() == none.scale.mean.tolist()  # taken once, before any search
    first, reads = searched(every, 3)
    assert reads == 1 + others  # the tile itself, and each slide once
    assert searched(every, 4)[1] == 1
    assert searched(every, 3) == ([first[-1]], 0)
    assert searched(none, 3) == (first, 1 + others) and searched(none, 4)[1] == 1 + others


def test_a_search_says_how_far_it_is_and_ends_with_what_it_found(page: str) -> None:
    lines = [json.loads(line) for line in ask(page, "/data/nearest", slide=EXPLAINED, tile=3, count=5)[2].splitlines()]
    assert lines[-1]["done"] == lines[-1]["of"] and len(lines[-1]["nearest"]) == 5
    assert not any(one["slide"].startswith(EXPLAINED[:8]) for one in lines[-1]["nearest"])


def test_a_tile_is_said_to_have_a_picture_where_the_server_shows_one(page: str) -> None:
    (*_, last) = ask(page, "/data/nearest", slide=EXPLAINED, tile=3, count=100)[2].splitlines()
    nearest = {one["slide"]: one for one in json.loads(last)["nearest"]}
    assert nearest[PLAIN]["pictured"] is False and nearest[PICTURED[1]]["pictured"] is True
    for slide, one in nearest.items():
        assert (ask(page, "/picture/tile", slide=slide, tile=one["tile"])[0] == 200) is one["pictured"], slide


def test_genes_are_measured_by_training_patients_of_a_run_that_did_not_learn_from_the_patient(
    contents: Contents,
) -> None:
    table = contents.cohort.expression
    assert table is not None
    frame = pd.DataFrame(table.values, index=list(table.patients), columns=list(table.genes)).astype(float)
    for patient in table.patients[:5]:
        judged = contents.judged_in(patient)
        assert judged is not None and patient not in judged.fold.train
        train = frame.loc[[name for name in judged.fold.train if name in frame.index]]
        z = (frame.loc[patient] - train.mean()) / train.std()
        known = Patients(contents).known(patient)["genes"]
        assert known["against"] == len(train)
        shown = {one["gene"]: one["z"] for one in [*known["high"], *known["low"]]}
        assert known["high"][0]["gene"] == z.idxmax() and known["low"][0]["gene"] == z.idxmin()
        np.testing.assert_allclose(list(shown.values()), z[list(shown)], atol=2e-3)


def test_what_genes_add_is_read_from_the_run_that_judges_the_patient_and_signed(contents: Contents, run: Path) -> None:
    table = contents.cohort.expression
    assert table is not None
    patient, other = table.patients[2], table.patients[3]
    known = Patients(contents).known(patient)["genes"]
    assert known["attributions"] == [] and known["command"] == f"mirror explain expression {run}"
    judged = contents.judged_in(patient)
    assert judged is not None
    path = contents.explained / judged.name / "expression_patients.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"patient": patient, "target": "risk", "value": 1.5, "at_mean": -0.5, "G1": 0.1, "G2": -2.0, "G3": 0.4}]
    written = pd.DataFrame([*rows, {**rows[0], "patient": other, "G1": 9.0}])
    try:
        write_patient_genes(path, written, model="of an earlier training")
        assert Patients(contents).known(patient)["genes"]["attributions"] == []
        write_patient_genes(path, written, model=judged.model)
        (risk,) = Patients(contents).known(patient)["genes"]["attributions"]
        assert (risk["target"], risk["value"], risk["at_mean"]) == ("risk", 1.5, -0.5)
        assert [(one["gene"], one["value"]) for one in risk["genes"]] == [("G2", -2.0), ("G3", 0.4), ("G1", 0.1)]
    finally:
        path.unlink()


def test_what_is_predicted_of_a_patient_is_what_the_run_said_that_judged_it(contents: Contents) -> None:
    table = contents.predictions
    assert table is not None
    people = contents.cohort.patients
    patient = str(people[people["has_expression"].astype(bool)].dropna(subset=["time", "label"]).index[0])
    known = Patients(contents).known(patient)
    judged = contents.judged_in(patient)
    assert judged is not None and known["judged_in"] == judged.name
    own = table[(table["patient"] == patient) & (table["representation"] == "fused") & (table["seed"] == judged.seed)]
    cox, linear = (own[own["protocol"] == name].iloc[0] for name in ("cox", "linear"))
    assert known["survival"]["risk"] == pytest.approx(cox["risk"], abs=1e-4)
    for one in known["survival"]["predicted"]:
        assert one["share"] == pytest.approx(cox[f"survival_{one['months']}"], abs=1e-4)
    assert known["classes"]["chances"]["A"] == pytest.approx(linear["probability_A"], abs=1e-4)


def test_a_patient_without_expression_is_predicted_from_the_slide(contents: Contents) -> None:
    people = contents.cohort.patients
    patient = str(people.index[~people["has_expression"].to_numpy(dtype=bool)][0])
    known = Patients(contents).known(patient)
    assert known["genes"] == {"reason": "no expression profile of this patient"}
    assert known["classes"]["by"] == "linear probe on slide" and known["survival"]["by"] == "Cox on slide"


def test_what_is_not_predicted_is_said_to_be_missing_with_the_command_that_makes_it(contents: Contents) -> None:
    people, table = contents.cohort.patients, contents.predictions
    assert table is not None
    patient = str(people.dropna(subset=["time", "label"]).index[0])
    judged = contents.judged_in(patient)
    assert judged is not None
    assert Patients(contents).known(patient)["unpredicted"] is None
    command = f"mirror evaluate {contents.config}"
    never = Patients(replace(contents, predictions=None)).known(patient)["unpredicted"]
    assert never == {"reason": "no run is evaluated yet", "command": command}
    earlier = table[table["fold"] != judged.fold.number]
    early = Patients(replace(contents, predictions=earlier)).known(patient)["unpredicted"]
    assert early == {"reason": f"the evaluation has none by run {judged.name} as it is trained now", "command": command}
    others = table[table["patient"] != patient]
    alone = Patients(replace(contents, predictions=others)).known(patient)["unpredicted"]
    assert alone == {"reason": f"the evaluation of run {judged.name} has none of this patient", "command": None}
    unknown = replace(contents.cohort, slides=contents.cohort.slides.assign(label=None, time=np.nan))
    assert Patients(replace(contents, cohort=unknown, predictions=None)).known(patient)["unpredicted"] is None


def test_a_layer_has_the_numbers_of_its_file_and_refuses_those_of_other_features(contents: Contents) -> None:
    shown = Relevance(contents)
    risk, attention = shown.layers(EXPLAINED)
    assert risk.facts["unit"] == "log hazard" and risk.role == "test"
    values = shown.values(EXPLAINED, risk.key, GRID * GRID)
    np.testing.assert_array_equal(values, np.arange(GRID * GRID) - GRID * GRID / 2)
    half = shown.values(EXPLAINED, attention.key, GRID * GRID)
    assert np.isnan(half).sum() == GRID * GRID // 2
    with pytest.raises(ArtefactError, match="other features"):
        shown.values(EXPLAINED, risk.key, GRID * GRID - 1)
    with pytest.raises(Unknown):
        shown.values(EXPLAINED, "seed0/fold0:tile", GRID * GRID)
    assert shown.layers(BARE) == []


WRONG_FORMS = (
    "[1, 2]",
    '"layers"',
    {"layers": None},
    {"layers": {"risk": {}}},
    {"layers": ["risk"]},
    {"layers": [{"method": "pattern"}]},
    {"layers": [{"name": "risk", "head": {"metric": "c_index"}}]},
    {"layers": [{"name": "risk", "warnings": [{"kind": "FEW"}]}]},
    {"layers": [{"name": "risk", "value": float("nan")}]},
    {"model": None},
)
"""JSON that is no explanation: whole, or what is otherwise in one."""


@pytest.mark.parametrize("wrong", WRONG_FORMS, ids=str)
def test_an_explanation_of_another_form_is_named_as_damaged_and_its_slide_is_opened(
    contents: Contents, tmp_path: Path, wrong: str | dict[str, object]
) -> None:
    passed = replace(contents, explained=tmp_path / "explain", made_in=tmp_path / "made")
    shutil.copytree(contents.explained, passed.explained)
    (path,) = passed.explained.rglob(f"{EXPLAINED}/relevance.json")
    path.write_text(wrong if isinstance(wrong, str) else json.dumps(read_json(path) | wrong))
    shown = Relevance(passed)
    assert shown.layers(EXPLAINED) == [] and shown.outdated(EXPLAINED) == [] and shown.can_make(EXPLAINED)
    assert [one.file for one in shown.damaged(EXPLAINED)] == [str(path)]
    with served_here(passed) as page:
        answer = told(page, "/data/slide", slide=EXPLAINED)
    assert answer["x"] and answer["layers"] == [] and [one["file"] for one in answer["damaged"]] == [str(path)]


@pytest.mark.parametrize("column", ["tile", "risk"])
def test_a_layer_whose_table_holds_no_numbers_is_refused_as_damaged(
    contents: Contents, tmp_path: Path, column: str
) -> None:
    passed = replace(contents, explained=tmp_path / "explain")
    shutil.copytree(contents.explained, passed.explained)
    (path,) = passed.explained.rglob(f"{EXPLAINED}/relevance.parquet")
    pd.read_parquet(path).assign(**{column: "much"}).to_parquet(path, index=False)
    shown = Relevance(passed)
    with pytest.raises(ArtefactError, match="is damaged"):
        shown.values(EXPLAINED, shown.layers(EXPLAINED)[0].key, GRID * GRID)


def passed_on_to(one: Path, run: ShownRun) -> Path:
    """The explanation in `one` (relevance.parquet) once more, as if it were by another run."""
    other = one.parents[4] / run.name / "slides" / one.parent.name / one.name
    other.parent.mkdir(parents=True)
    shutil.copy(one, other)
    told = read_json(one.with_suffix(".json"))
    write_json(other.with_suffix(".json"), {**told, "model": run.model})
    return other


@pytest.mark.parametrize("name", ["relevance.json", "relevance.parquet"])
def test_a_damaged_explanation_is_named_and_leaves_slide_and_other_layers_as_they_are(
    run: Path, tmp_path: Path, name: str
) -> None:
    with view(run, slides=None) as whole:
        contents = replace(whole, explained=tmp_path / "explain", made_in=tmp_path / "made")
        shutil.copytree(whole.explained, contents.explained)
        judged = contents.judged_in(contents.owners[EXPLAINED])
        assert judged is not None
        path = contents.explained / judged.name / "slides" / EXPLAINED / "relevance.parquet"
        (other,) = [one for one in contents.runs.values() if one is not judged]
        passed_on_to(path, other)
        shown = Relevance(contents)
        assert len(shown.layers(EXPLAINED)) == 4 and shown.damaged(EXPLAINED) == []
        damaged = path.with_name(name)
        damaged.write_bytes(damaged.read_bytes()[:-20])
        assert {layer.run for layer in shown.layers(EXPLAINED)} == {other.name}
        assert shown.damaged(EXPLAINED) == [Damaged(judged.name, str(damaged))]
        assert shown.outdated(EXPLAINED) == [] and shown.can_make(EXPLAINED)
        values = shown.values(EXPLAINED, f"{other.name}:risk", GRID * GRID)
        np.testing.assert_array_equal(values, np.arange(GRID * GRID) - GRID * GRID / 2)
        with served_here(contents) as page:
            answer = told(page, "/data/slide", slide=EXPLAINED)
        assert answer["x"] and [one["file"] for one in answer["damaged"]] == [str(damaged)]
        (command,) = [one["command"] for one in answer["damaged"]]
        assert command.startswith("mirror explain slide ") and command.endswith(f"--run {judged.name}")


def test_nothing_is_computed_where_no_method_has_passed(contents: Contents) -> None:
    def explain(slide: str) -> object:
        raise AssertionError(slide)

    refused = replace(contents, offered=False, explain=explain)
    with served_here(refused) as page:
        answer = told(page, "/data/slide", slide=BARE)
        assert answer["offered"] is answer["can_explain"] is False and answer["command"].endswith(" --unproven")
        status, _, content = ask(page, "/data/explain", method="POST", slide=BARE)
    assert status == 404 and "no method has passed" in json.loads(content)["error"]
    assert contents.offered and Relevance(contents).can_make(BARE) and not Relevance(contents).can_make(EXPLAINED)


def test_what_is_of_an_earlier_training_is_not_shown_as_that_of_the_run_of_now(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run.parent / "run", tmp_path / "run")
    config = tmp_path / "again.yaml"
    text = run.read_text().replace("path: ", f"path: {run.parent}/").replace("epochs: 1", "epochs: 2")
    config.write_text(text)
    with view(run, slides=None) as before:
        fold = before.runs[Relevance(before).layers(EXPLAINED)[0].run].fold.number
        assert before.predictions is not None and set(before.predictions["fold"]) == {0, 1}
        assert Relevance(before).outdated(EXPLAINED) == []
        patient = before.owners[EXPLAINED]
    for stage in (["pretrain", "--fold", str(fold), "--overwrite"], ["embed", "--fold", str(fold)]):
        done = CliRunner().invoke(app, [stage[0], str(config), *stage[1:]])
        assert done.exit_code == 0, done.output
    with view(config, slides=None) as since:
        assert (Relevance(since).layers(EXPLAINED), Relevance(since).outdated(EXPLAINED)) == ([], [f"seed0/fold{fold}"])
        assert since.predictions is not None and set(since.predictions["fold"]) == {0, 1} - {fold}
        assert "as it is trained now" in Patients(since).known(patient)["unpredicted"]["reason"]
    report = CliRunner().invoke(app, ["report", str(config)])
    assert report.exit_code == 1 and "not of these runs as they are trained now" in report.output.replace("\n", " ")


@pytest.mark.parametrize("moved", [False, True], ids=["where it was made", "moved, and a table changed"])
def test_what_is_made_on_demand_is_of_a_model_that_has_not_seen_the_patient_and_leaves_the_run_as_it_was(
    run: Path, tmp_path: Path, moved: bool
) -> None:
    if moved:
        run = shutil.copytree(run.parent, tmp_path / "moved") / run.name
        clinical = run.parent / "clinical.csv"
        clinical.write_text("".join(clinical.read_text().splitlines(keepends=True)[:-1]))
    before = {path: path.stat().st_mtime_ns for path in (run.parent / "run").rglob("*")}
    with view(run, slides=None) as contents:
        shown = Relevance(contents)
        shown.make(PICTURED[1])
        layers = shown.layers(PICTURED[1])
        made = contents.made_in
        assert "risk" in {layer.name for layer in layers}
        assert {layer.role for layer in layers} == {"test"}
        assert all(layer.facts["unit"] for layer in layers)
        values = shown.values(PICTURED[1], next(one.key for one in layers if one.name == "risk"), GRID * GRID)
        assert np.isfinite(values).all() and values.std() > 0
        assert shown.values(EXPLAINED, shown.layers(EXPLAINED)[0].key, GRID * GRID)[0] == -GRID * GRID / 2
    assert not made.exists()
    assert {path: path.stat().st_mtime_ns for path in (run.parent / "run").rglob("*")} == before


def test_slides_are_found_in_a_folder_and_only_those_of_the_cohort(
    contents: Contents, run: Path, tmp_path: Path
) -> None:
    assert contents.files == {}
    with view(run, slides=run.parent / "scans") as given:
        assert set(given.files) == {*PICTURED, PLAIN}
    with view(run.parent / "run", slides=None) as folder:
        assert set(folder.runs) == {"seed0/fold0", "seed0/fold1"} and folder.config.is_file()
    (tmp_path / "strange.tif").write_bytes(b"")
    with pytest.raises(ConfigError, match="no slide of the cohort is in"), view(run, slides=tmp_path):
        pass


def test_a_port_that_is_taken_and_a_run_that_was_not_embedded_are_told_plainly(run: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = CliRunner().invoke(app, ["view", str(run), "--no-browser", "--port", str(taken.getsockname()[1])])
    assert ended.exit_code == 1 and "--port" in ended.output
    fresh = tmp_path / "fresh.yaml"
    text = run.read_text().replace("path: ", f"path: {run.parent}/").replace("output: run", f"output: {tmp_path / 'o'}")
    fresh.write_text(text)
    assert CliRunner().invoke(app, ["cohort", str(fresh)]).exit_code == 0
    ended = CliRunner().invoke(app, ["view", str(fresh), "--no-browser"])
    assert ended.exit_code == 1 and "mirror embed" in ended.output.replace("\n", " ")
    assert find_bags(run.parent / "features")
