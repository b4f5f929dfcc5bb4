"""Truths about looking again, months later."""

from __future__ import annotations

import pytest

from mirror.acquire.client import Client, SourceError
from mirror.acquire.fetch import fetch
from mirror.acquire.lock import Lock
from mirror.acquire.plan import plan
from mirror.acquire.verify import news, verify
from mirror.errors import ArtefactError

PARTS = ("slides", "clinical", "survival", "genes", "toil")


@pytest.fixture
def fetched(simulate, tmp_path):
    made = simulate(parts=PARTS)
    client = Client(made.recipe.transfer)
    fetch(plan(made.recipe, tmp_path / "d", client), tmp_path / "d", client, made.recipe.transfer)
    return made, tmp_path / "d", client


def states(folder):
    return {file.path: file.state for file in verify(folder)}


def test_what_was_fetched_is_sound_and_nothing_is_new(fetched):
    _, folder, client = fetched
    assert set(states(folder).values()) == {"sound"}
    assert len(states(folder)) == len(Lock.load(folder).files)
    assert news(folder, client) == ()


def test_every_way_in_which_a_file_can_change_is_told_apart(fetched):
    _, folder, _ = fetched
    slides = [file.path for file in Lock.load(folder).of_part("slides")]
    (folder / slides[0]).unlink()
    with (folder / slides[1]).open("ab") as file:
        file.write(b"more")
    content = (folder / slides[2]).read_bytes()
    (folder / slides[2]).write_bytes(bytes([content[0] ^ 1]) + content[1:])
    # Of the files that no source has a checksum of, the first fetch's holds.
    matrix = "expression/tcga_RSEM_isoform_fpkm.tsv.gz"
    content = (folder / matrix).read_bytes()
    (folder / matrix).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    found = states(folder)
    assert [found.pop(slide) for slide in slides[:3]] == ["missing", "another size", "another checksum"]
    assert found.pop(matrix) == "another checksum"
    assert set(found.values()) == {"sound"}


def test_what_verify_finds_the_next_fetch_mends(fetched):
    made, folder, client = fetched
    slides = [file.path for file in Lock.load(folder).of_part("slides")]
    (folder / slides[0]).unlink()
    (folder / slides[1]).write_bytes(b"half")
    fetch(Lock.load(folder), folder, client, made.recipe.transfer)
    assert set(states(folder).values()) == {"sound"}


def test_files_that_were_only_planned_are_not_called_lost(simulate, tmp_path):
    made = simulate(parts=("slides",))
    plan(made.recipe, tmp_path / "d", Client(made.recipe.transfer))
    assert set(states(tmp_path / "d").values()) == {"never fetched"}


def test_new_releases_are_told_source_by_source(fetched):
    made, folder, client = fetched
    made.archive.content.release = "Data Release 46.0"
    study = made.archive.content.documents["/cbioportal/studies/brca_tcga_pan_can_atlas_2018"]
    study["importDate"] = "2026-01-01"
    gdc, cbioportal = news(folder, client)
    assert gdc == "gdc had 'Data Release 45.0 - December 04, 2025' and has 'Data Release 46.0'"
    assert "2026-01-01" in cbioportal
    assert set(states(folder).values()) == {"sound"}


def test_without_a_lock_or_a_source_it_says_so(fetched, tmp_path):
    made, folder, _ = fetched
    with pytest.raises(ArtefactError, match="is missing; run the stage that writes it first"):
        verify(tmp_path / "nowhere")
    made.archive.shutdown()
    made.archive.server_close()
    with pytest.raises(SourceError, match="cannot be reached"):
        news(folder, Client(made.recipe.transfer))  # another one: the first still has its connections
    assert set(states(folder).values()) == {"sound"}
