"""One file from a server that misbehaves: each fault ends in the whole file or in a clear error, and never in half of
one under its final name."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import replace

import pytest
from misbehaving import (
    BODY,
    PATH,
    QUICK,
    cuts,
    ignores_range,
    other_bytes,
    redirects,
    refuses_head,
    says,
    serving,
    stalls,
    trickles,
    wrong_range,
)

from mirror.acquire.budget import Bandwidth, Disk, DiskFull
from mirror.acquire.client import Client, SourceError, Stopped, read_token
from mirror.acquire.download import Means, download
from mirror.errors import ConfigError
from mirror.simulate.archive import Content, Served


def whole(folder):
    """The file under its final name, and nothing beside it."""
    there = sorted(path.name for path in (folder / "slides").iterdir())
    return there == ["one.svs"] and (folder / "slides" / "one.svs").read_bytes() == BODY


def nothing(folder):
    """No file under the final name."""
    return not (folder / "slides" / "one.svs").exists()


def ranges(archive):
    return [headers.get("range") for headers in archive.asked(PATH)]


def test_a_sound_server_gives_the_file_and_its_validators(file, means, tmp_path):
    found = download(file, tmp_path, means)
    assert whole(tmp_path)
    assert (found.size, found.checksum, found.etag) == (len(BODY), file.checksum, '"first"')
    assert found.modified is not None


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 429])
def test_errors_that_pass_are_waited_out(archive, file, means, tmp_path, status):
    archive.once(PATH, says(status), says(status), says(status))
    download(file, tmp_path, means)
    assert whole(tmp_path)


def test_errors_that_stay_end_in_a_message_after_the_attempts_of_the_settings(archive, file, means, tmp_path):
    archive.always[PATH] = says(500)
    with pytest.raises(SourceError, match="answers 500; given up after 4 attempts in a row"):
        download(file, tmp_path, means)
    assert len(archive.asked(PATH)) == QUICK.attempts
    assert nothing(tmp_path)


def test_the_pauses_grow_to_their_limit(archive, file, tmp_path):
    client = Client(QUICK.model_copy(update={"backoff": 0.1, "backoff_most": 0.2}))
    archive.once(PATH, says(500), says(500), says(500))
    began = time.monotonic()
    download(file, tmp_path, Means(client, Bandwidth(None, client.stop), Disk(tmp_path, None)))
    assert time.monotonic() - began >= 0.1 + 0.2 + 0.2


def test_a_server_that_names_a_time_is_asked_again_then(archive, file, means, tmp_path):
    archive.once(PATH, says(429, Retry_After="1"))
    began = time.monotonic()
    download(file, tmp_path, means)
    assert time.monotonic() - began >= 1
    assert whole(tmp_path)


def test_a_server_that_names_hours_is_not_waited_for(archive, file, means, tmp_path):
    archive.once(PATH, says(503, Retry_After="7200"))
    with pytest.raises(SourceError, match="asks to wait 120 minutes"):
        download(file, tmp_path, means)


def test_cuts_in_the_middle_go_on_where_they_were(archive, file, means, tmp_path):
    archive.once(PATH, cuts(400_000), cuts(300_000))
    download(file, tmp_path, means)
    assert whole(tmp_path)
    assert ranges(archive) == [None, "bytes=400000-", "bytes=700000-"]
    assert [headers.get("if-range") for headers in archive.asked(PATH)] == [None, '"first"', '"first"']


def test_attempts_that_bring_something_do_not_use_up_the_patience(archive, file, means, tmp_path):
    archive.once(PATH, *[cuts(150_000)] * 9)
    download(file, tmp_path, means)
    assert whole(tmp_path)


def test_a_cut_without_a_byte_uses_it_up(archive, file, means, tmp_path):
    archive.always[PATH] = cuts(0)
    with pytest.raises(SourceError, match="given up after 4 attempts"):
        download(file, tmp_path, means)
    assert nothing(tmp_path)


def test_a_later_call_goes_on_where_the_earlier_one_gave_up(archive, file, means, tmp_path):
    archive.once(PATH, cuts(400_000), *[says(500)] * 3)
    with pytest.raises(SourceError):
        download(file, tmp_path, means)
    assert nothing(tmp_path)
    assert (tmp_path / "slides" / "one.svs.part").read_bytes() == BODY[:400_000]
    download(file, tmp_path, means)
    assert whole(tmp_path)
    assert ranges(archive)[-1] == "bytes=400000-"


def test_a_whole_part_of_a_process_that_ended_before_it_was_checked_is_not_asked_for_again(
    archive, file, means, tmp_path
):
    archive.once(PATH, cuts(1_000_000), *[says(500)] * 3)
    with pytest.raises(SourceError):
        download(file, tmp_path, means)
    with (tmp_path / "slides" / "one.svs.part").open("ab") as part:
        part.write(BODY[1_000_000:])
    before = len(archive.requests)
    download(file, tmp_path, means)
    assert whole(tmp_path)
    assert len(archive.requests) == before


@pytest.mark.parametrize("checked", [True, False], ids=["checksum", "no checksum"])
def test_a_server_that_ignores_ranges_sends_it_anew(archive, file, nameless, means, tmp_path, checked):
    archive.once(PATH, cuts(400_000), ignores_range)
    download(file if checked else nameless, tmp_path, means)
    assert whole(tmp_path)
    assert ranges(archive) == [None, "bytes=400000-"]


def test_bytes_of_another_place_than_asked_for_are_not_taken(archive, file, means, tmp_path):
    archive.once(PATH, cuts(400_000), wrong_range)
    download(file, tmp_path, means)
    assert whole(tmp_path)


@pytest.mark.parametrize("checked", [True, False], ids=["checksum", "no checksum"])
def test_a_file_that_was_replaced_in_between_is_never_put_together_of_two(
    archive, file, nameless, means, tmp_path, checked
):
    asked = file if checked else nameless
    old = bytes(reversed(BODY))
    sound = archive.content.files[PATH]
    archive.content.files[PATH] = Served(old, etag='"before"')
    archive.once(PATH, cuts(400_000), *[says(500)] * 3)
    with pytest.raises(SourceError):
        download(asked, tmp_path, means)
    archive.content.files[PATH] = sound
    download(asked, tmp_path, means)
    assert whole(tmp_path)
    assert ranges(archive)[-1] == "bytes=400000-"  # with If-Range, to which the server answers with all of it


def test_without_validator_and_checksum_nothing_is_resumed(archive, nameless, means, tmp_path):
    archive.content.files[PATH] = Served(BODY, etag='W/"weak"', modified=None)
    archive.once(PATH, cuts(400_000))
    download(nameless, tmp_path, means)
    assert whole(tmp_path)
    assert ranges(archive) == [None, None]


def test_a_wrong_checksum_once_is_fetched_again_from_the_first_byte(archive, file, means, tmp_path):
    archive.once(PATH, other_bytes)
    download(file, tmp_path, means)
    assert whole(tmp_path)
    assert ranges(archive) == [None, None]


def test_a_wrong_checksum_always_ends_in_a_message_and_leaves_nothing(archive, file, means, tmp_path):
    archive.always[PATH] = other_bytes
    with pytest.raises(SourceError, match=f"came 3 times, each time with another checksum.*{file.checksum}"):
        download(file, tmp_path, means)
    assert list((tmp_path / "slides").iterdir()) == []


def test_another_size_than_planned_is_another_file(file, means, tmp_path):
    with pytest.raises(SourceError, match=r"has 1500000 bytes, the plan says 1499999: it was replaced since; plan"):
        download(replace(file, size=len(BODY) - 1), tmp_path, means)
    assert nothing(tmp_path)


def test_silence_counts_as_a_lost_connection(archive, file, tmp_path):
    client = Client(QUICK.model_copy(update={"read_timeout": 0.3, "attempts": 20}))
    never = threading.Event()
    archive.once(PATH, stalls(0, never), stalls(300_000, never))
    download(file, tmp_path, Means(client, Bandwidth(None, client.stop), Disk(tmp_path, None)))
    assert whole(tmp_path)
    assert "bytes=300000-" in ranges(archive)
    never.set()


def test_a_slow_server_is_not_a_lost_connection(archive, file, means, tmp_path):
    archive.once(PATH, trickles(300_000, 0.1))
    download(file, tmp_path, means)
    assert whole(tmp_path)
    assert len(archive.requests) == 1


def test_a_redirect_on_the_same_host_keeps_the_token(archive, file, tmp_path):
    archive.content.files["/gdc/moved"] = Served(BODY, token="secret")
    archive.always[PATH] = redirects("/gdc/moved")
    download(replace(file, controlled=True), tmp_path, with_token(tmp_path, archive.url))
    assert whole(tmp_path)
    assert [headers.get("x-auth-token") for headers in archive.asked("/gdc/moved")] == ["secret"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_loses_the_token(archive, file, tmp_path, status):
    with serving(Content(files={"/elsewhere": Served(BODY)})) as other:
        archive.always[PATH] = redirects(f"{other.url}/elsewhere", status)
        download(replace(file, controlled=True), tmp_path, with_token(tmp_path, archive.url))
        assert whole(tmp_path)
        assert "x-auth-token" in archive.asked(PATH)[0]
        assert len(other.requests) == 1
        assert "secret" not in str(other.requests)


def test_redirects_without_end_are_an_error(archive, file, means, tmp_path):
    archive.always[PATH] = redirects(PATH)
    with pytest.raises(SourceError, match="redirects more than 5 times"):
        download(file, tmp_path, means)


def test_an_open_file_is_asked_for_without_the_token(archive, file, tmp_path):
    download(file, tmp_path, with_token(tmp_path, archive.url))
    assert "secret" not in str(archive.requests)


def test_a_controlled_file_without_token_says_what_to_give(archive, file, means, tmp_path):
    with pytest.raises(SourceError, match="is a controlled-access file: give --token FILE"):
        download(replace(file, controlled=True), tmp_path, means)
    assert archive.requests == []


def test_an_old_token_says_so_and_is_not_in_the_message(archive, file, tmp_path):
    archive.content.files[PATH] = Served(BODY, token="newer")
    with pytest.raises(SourceError, match=r"refused with this token \(403\): it has expired") as caught:
        download(replace(file, controlled=True), tmp_path, with_token(tmp_path, archive.url))
    assert "secret" not in str(caught.value)


def test_a_token_is_not_sent_unencrypted(file, tmp_path):
    far = replace(file, controlled=True, url="http://gdc.example/data/one")
    with pytest.raises(ConfigError, match="not reached by https, so the token is not sent there"):
        download(far, tmp_path, with_token(tmp_path, "http://gdc.example"))


def test_a_lock_of_somebody_else_does_not_lead_the_token_away(archive, file, tmp_path):
    with serving(Content(files={"/one": Served(BODY)})) as other:
        led = replace(file, controlled=True, url=f"{other.url}/one")
        with pytest.raises(ConfigError, match="for which the token is; plan again"):
            download(led, tmp_path, with_token(tmp_path, archive.url))
        assert other.requests == []


def test_a_file_that_is_gone_says_to_plan_again(archive, file, means, tmp_path):
    archive.always[PATH] = says(404)
    with pytest.raises(SourceError, match=r"is not there \(404\).*plan again"):
        download(file, tmp_path, means)
    assert len(archive.requests) == 1


def test_a_refusal_is_not_asked_about_twice(archive, file, means, tmp_path):
    archive.always[PATH] = says(403)
    with pytest.raises(SourceError, match="answers 403: refused"):
        download(file, tmp_path, means)
    assert len(archive.requests) == 1


def test_a_full_disk_keeps_what_came_and_goes_on_when_there_is_room(archive, file, client, small_disk):
    disk = small_disk(800)
    tight = Means(client, Bandwidth(None, client.stop), Disk(disk, None))
    with pytest.raises(DiskFull, match="is full; make room and give the same command again: it goes on at byte"):
        download(file, disk, tight)
    assert nothing(disk)
    part = disk / "slides" / "one.svs.part"
    kept = part.stat().st_size
    assert 0 < kept < 800 * 1024
    assert part.read_bytes() == BODY[:kept]
    roomy = small_disk(4000)
    (roomy / "slides").mkdir()
    for name in ("one.svs.part", "one.svs.part.json"):
        (roomy / "slides" / name).write_bytes((disk / "slides" / name).read_bytes())
    download(file, roomy, Means(client, Bandwidth(None, client.stop), Disk(roomy, None)))
    assert whole(roomy)
    assert ranges(archive)[-1] == f"bytes={kept}-"


def test_a_disk_that_is_full_before_the_first_byte_says_the_same(file, client, small_disk):
    disk = small_disk(100)
    (disk / "slides").mkdir()
    with pytest.raises(OSError, match="No space left"), (disk / "ballast").open("wb", buffering=0) as ballast:
        while ballast.write(bytes(4096)):
            pass
    with pytest.raises(DiskFull, match="is full; make room and give the same command again: it goes on at byte 0 of"):
        download(file, disk, Means(client, Bandwidth(None, client.stop), Disk(disk, None)))
    assert nothing(disk)


def test_the_budget_of_the_disk_is_kept(file, client, tmp_path):
    budget = Means(client, Bandwidth(None, client.stop), Disk(tmp_path, 1_000_000))
    with pytest.raises(DiskFull, match=r"the budget of 1.0 MB for .* is used up; raise `transfer.disk`"):
        download(file, tmp_path, budget)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.part")) <= 1_000_000


def test_the_budget_of_the_bandwidth_is_kept(file, client, tmp_path):
    held = Means(client, Bandwidth(3e6, client.stop), Disk(tmp_path, None))
    began = time.monotonic()
    download(file, tmp_path, held)
    assert time.monotonic() - began > 0.8 * len(BODY) / 3e6
    assert whole(tmp_path)


def test_calling_off_wakes_who_waits_and_keeps_what_came(archive, file, client, tmp_path):
    never = threading.Event()
    archive.once(PATH, stalls(300_000, never))
    came = []

    def heard(count):
        came.append(count)
        if sum(came) == 300_000:  # nothing more will come: who reads on now waits for it
            threading.Timer(0.1, client.call_off).start()

    began = time.monotonic()
    with pytest.raises(Stopped):
        download(file, tmp_path, Means(client, Bandwidth(None, client.stop), Disk(tmp_path, None), heard))
    assert time.monotonic() - began < QUICK.read_timeout
    assert nothing(tmp_path)
    assert (tmp_path / "slides" / "one.svs.part").read_bytes() == BODY[:300_000]
    never.set()


def test_a_first_fetch_is_remembered_by_its_own_checksum(nameless, means, tmp_path):
    found = download(nameless, tmp_path, means)
    assert found.checksum == f"sha256:{hashlib.sha256(BODY).hexdigest()}"


def test_a_document_that_is_no_json_is_not_kept(nameless, means, tmp_path):
    with pytest.raises(SourceError, match="each time as something that is no JSON"):
        download(replace(nameless, path="slides/one.json"), tmp_path, means)
    assert list((tmp_path / "slides").iterdir()) == []


def test_a_refused_head_is_replaced_by_the_first_byte(archive, client):
    assert client.head(f"{archive.url}{PATH}")["content-length"] == str(len(BODY))
    archive.always[PATH] = refuses_head
    assert client.head(f"{archive.url}{PATH}")["content-length"] == str(len(BODY))
    assert ranges(archive) == ["bytes=0-0"]


def test_a_host_that_is_not_there_is_named(file, means, tmp_path):
    with pytest.raises(SourceError, match=r"nowhere.invalid is not found; is this machine connected"):
        download(replace(file, url="http://nowhere.invalid/one"), tmp_path, means)


def test_a_closed_port_is_a_lost_connection(file, means, tmp_path):
    with serving(Content()) as gone:
        url = gone.url
    with pytest.raises(SourceError, match=r"cannot be reached: .*given up after 4 attempts"):
        download(replace(file, url=f"{url}/one"), tmp_path, means)


@pytest.mark.parametrize("text", ["", "two words", "two\nlines"])
def test_a_file_that_is_no_token_is_refused_without_being_shown(tmp_path, text):
    (tmp_path / "token").write_text(text)
    with pytest.raises(ConfigError, match="is not one line of text") as caught:
        read_token(tmp_path / "token")
    assert not text or text not in str(caught.value)


def with_token(folder, where):
    (folder / "token.txt").write_text("secret\n")
    token = read_token(folder / "token.txt")
    assert "secret" not in f"{token!r} {token}"
    client = Client(QUICK, token=token, token_for=where)
    return Means(client, Bandwidth(None, client.stop), Disk(folder, None))
