"""Truths about encoders, and about the messages where one is missing."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch

from mirror.errors import ConfigError
from mirror.slides.encoders import TileEncoder, hub_revision, load_encoder
from mirror.slides.settings import ExtractionConfig, load_extraction

TILE = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", os.environ.get("HF_HUB_OFFLINE", "0"))  # restored after the test


def load(encoder: str, **values: object) -> TileEncoder:
    config = ExtractionConfig(slides=Path(), output=Path(), encoder=encoder).model_copy(update=values)
    return load_encoder(config, torch.device("cpu"))


def features(encoder: TileEncoder) -> torch.Tensor:
    return encoder.encode(torch.stack([encoder.prepare(TILE), encoder.prepare(255 - TILE)]))


def test_the_seed_is_the_random_network_and_its_revision_says_so() -> None:
    before = torch.random.get_rng_state()
    first, again, other = load("random-resnet18"), load("random-resnet18"), load("random-resnet18", seed=1)
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(features(first), features(again))
    assert not torch.equal(features(first), features(other))
    assert first.revision == again.revision != other.revision
    assert features(first).shape == (2, 512)


def test_the_classical_encoder_tells_tiles_apart_and_stays_small() -> None:
    given = features(load("stain-texture"))
    assert given.isfinite().all()
    assert given.abs().max() < 100
    assert (given[0] - given[1]).abs().max() > 0.1


def test_weights_of_a_file_are_the_ones_that_compute(tmp_path: Path) -> None:
    network = timm.create_model("resnet18", pretrained=False, num_classes=0).eval()
    safetensors.torch.save_file(network.state_dict(), tmp_path / "weights.safetensors")
    encoder = load("resnet18", weights=tmp_path / "weights.safetensors")
    with torch.inference_mode():
        expected = network(torch.stack([encoder.prepare(TILE), encoder.prepare(255 - TILE)]))
    torch.testing.assert_close(features(encoder), expected)
    assert encoder.revision.startswith("file ")


def test_a_file_that_could_execute_code_is_not_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "sprung",))  # pyright: ignore[reportReturnType]

    (tmp_path / "weights.pt").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ConfigError, match="no file of plain tensors"):
        load("resnet18", weights=tmp_path / "weights.pt")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("encoder", "says"),
    [
        ("resnet50", "not in the cache.*--download"),
        ("uni", "ask for access at https://huggingface.co/MahmoodLab/UNI; log in with `hf auth login`.*weights: FILE"),
        ("gigapath", "ask for access at .*prov-gigapath"),
        ("phicon", "did you mean 'phikon'"),
        ("UNI", "did you mean 'uni'"),
        ("H-Optimus-1", "did you mean 'h-optimus-1'"),
        ("prism", "whole slides, not tiles"),
    ],
)
def test_an_encoder_that_is_not_here_says_the_step_to_take(encoder: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load(encoder)


def test_weights_that_would_be_ignored_are_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"x")
    with pytest.raises(ConfigError, match="would ignore `weights`"):
        load("gigapath", weights=tmp_path / "weights.safetensors")
    with pytest.raises(ConfigError, match="no file of weights"):
        load("uni", weights=tmp_path / "gone")


def test_the_commit_of_a_cached_model_is_found_whatever_its_case(tmp_path: Path) -> None:
    refs = tmp_path / "models--MahmoodLab--uni" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text("abc123\n")
    assert hub_revision("MahmoodLab/UNI", tmp_path) == "abc123"
    assert hub_revision("owkin/phikon", tmp_path) is None


def test_settings_are_closed_and_say_what_was_meant(tmp_path: Path) -> None:
    path = tmp_path / "slides.yaml"
    path.write_text("slides: scans\noutput: out\nencoder: uni\ntile_size: 256\n")
    with pytest.raises(ConfigError, match="did you mean 'tile_px'"):
        load_extraction(path)
    path.write_text("slides: scans\noutput: out\nencoder: uni\ntile_px: 64\noverlap_px: 64\n")
    with pytest.raises(ConfigError, match="must be smaller"):
        load_extraction(path)
    path.write_text("slides: scans\noutput: out\nencoder: uni\n")
    assert load_extraction(path).slides == tmp_path.resolve() / "scans"
