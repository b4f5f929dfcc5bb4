"""The real command that shows a run, as long as it is looked at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def served(run: Path, slides: Path, made: Path) -> Generator[str]:
    """The address at which `mirror view` shows `run`; it makes what is asked for in `made`. A plain `kill` ends it."""
    command = [sys.executable, "-m", "mirror", "view", str(run), "--slides", str(slides), "--no-browser", "--port", "0"]
    environment = {**os.environ, "COLUMNS": "300", "OMP_NUM_THREADS": "1", "TMPDIR": str(made)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        said: list[str] = []
        for line in process.stderr:
            said.append(line)
            if "http://" in line:
                break
        else:
            pytest.fail("".join(said))
        try:
            yield next(word for word in line.split() if word.startswith("http://"))
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
