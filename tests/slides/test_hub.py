"""Truths about weights of the hub, told by a hub on this machine that speaks its protocol."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch

COMMIT = "a" * 40
CLIENT = """
import json
from pathlib import Path
import torch
from mirror.errors import ConfigError
from mirror.slides.encoders import load_encoder
from mirror.slides.settings import ExtractionConfig

def loaded(encoder, download):
    config = ExtractionConfig(slides=Path(), output=Path(), encoder=encoder)
    try:
        return load_encoder(config, torch.device("cpu"), download=download).revision
    except ConfigError as error:
        return str(error)

asked = (("resnet18", False), ("resnet18", True), ("resnet18", False), ("uni", True))
print(json.dumps([loaded(*one) for one in asked]))
"""


class Hub(ThreadingHTTPServer):
    """Has the weights of one model; another one is gated. `asked` lists what clients wanted of it."""

    def __init__(self, weights: bytes) -> None:
        self.weights, self.asked = weights, list[str]()
        super().__init__(("127.0.0.1", 0), Answer)


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None:
        """Not on the terminal."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        if "/resolve/" in self.path:
            self.server.asked.append(f"{self.command} {self.path}")
        if "MahmoodLab" in self.path:
            code, body, headers = 401, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "restricted"}
        elif self.path.endswith("/model.safetensors"):
            code, body = 200, self.server.weights
            mark = hashlib.sha256(body).hexdigest()
            headers = {"ETag": f'"{mark}"', "X-Linked-ETag": f'"{mark}"', "X-Linked-Size": str(len(body))}
        else:
            code, body, headers = 404, b"{}", {"X-Error-Code": "EntryNotFound"}
        self.send_response(code)
        for name, value in {**headers, "X-Repo-Commit": COMMIT, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)


@pytest.fixture
def hub() -> Iterator[Hub]:
    torch.manual_seed(0)
    network = timm.create_model("resnet18", pretrained=False)
    server = Hub(safetensors.torch.save(network.state_dict()))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_weights_are_fetched_once_when_asked_for_and_a_gated_model_names_the_steps(hub: Hub, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_XET": "1",
    }
    ended = subprocess.run([sys.executable, "-c", CLIENT], env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    missing, fetched, cached, gated = json.loads(ended.stdout.splitlines()[-1])
    assert "nothing is downloaded unasked" in missing
    assert "--download" in missing
    assert fetched.startswith(f"timm/resnet18.a1_in1k {COMMIT}, weights ")
    assert cached == fetched
    assert "ask for access at https://huggingface.co/MahmoodLab/UNI; log in with `hf auth login`; run the same" in gated
    file = "/timm/resnet18.a1_in1k/resolve/main/model.safetensors"
    assert [one for one in hub.asked if "timm" in one] == [f"HEAD {file}", f"GET {file}"]  # once, not thrice
