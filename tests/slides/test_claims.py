"""Truths about who works on which slide."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mirror.errors import MirrorError
from mirror.slides.claims import Claims

HOLDER = """
import sys, time
from pathlib import Path
from mirror.slides.claims import Claims
with Claims(Path(sys.argv[1])).claim("a") as mine:
    print(mine, flush=True)
    time.sleep(600)
"""


def holder(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "True"
    return process


def test_a_slide_is_one_processs_until_it_ends_even_by_sigkill(tmp_path: Path) -> None:
    claims = Claims(tmp_path / ".claims")
    process = holder(tmp_path / ".claims")
    try:
        with claims.claim("a") as mine, claims.claim("b") as other:
            assert (mine, other) == (False, True)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with claims.claim("a") as mine:
        assert mine
    claims.close()


def test_a_claim_ends_with_its_block(tmp_path: Path) -> None:
    claims = Claims(tmp_path / ".claims")
    with claims.claim("a"):
        pass
    process = holder(tmp_path / ".claims")
    assert process.poll() is None  # another process got the slide, and holds it
    process.kill()
    process.wait()
    claims.close()


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MirrorError, match=r"could not write .*choose another `output`"):
        Claims(tmp_path / "file" / ".claims")
