"""The real command that shows a run, as long as it is looked at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from mirror.viewer.contents import Contents
from mirror.viewer.routes import Answers
from mirror.viewer.server import HOST, application


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


@contextmanager
def served_here(contents: Contents) -> Generator[str]:
    """The address at which this process shows `contents`, which need not be as any command leaves them."""
    server = uvicorn.Server(uvicorn.Config(application(Answers(contents)), host=HOST, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://{HOST}:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(timeout=30)
