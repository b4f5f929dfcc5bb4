"""Files and names of published checkpoints."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mirror.compat.published import from_state_dict, infer_sizes, load_checkpoint, to_state_dict
from mirror.errors import ArtefactError
from mirror.nn.mirror import Mirror, MirrorSizes, build_mirror

SIZES = MirrorSizes(
    tile_dim=6, genes=9, tiles=5, width=24, expression_depth=3, expression_mlp_ratio=2.572,
    style_hidden=8, style_out=7, style_latent=4, prototypes=10,
)  # fmt: skip


def model(seed: int = 0) -> Mirror:
    return build_mirror(SIZES, generator=torch.Generator().manual_seed(seed))


def test_a_model_survives_the_way_to_published_names_and_back() -> None:
    ours = model()
    back = from_state_dict(to_state_dict(ours))
    assert not back.training
    assert back.state_dict().keys() == ours.state_dict().keys()
    assert all(torch.equal(back.state_dict()[name], tensor) for name, tensor in ours.state_dict().items())


def test_loaded_weights_are_a_copy() -> None:
    state = to_state_dict(model())
    before = state["prototypes.weight"].clone()
    loaded = from_state_dict(state)
    with torch.no_grad():
        loaded.style.prototypes.weight.zero_()
    assert torch.equal(state["prototypes.weight"], before)


def test_every_size_that_shapes_tell_is_inferred() -> None:
    inferred = infer_sizes(to_state_dict(model()))
    assert replace(inferred, expression_mlp_ratio=2.572) == SIZES
    assert int(24 * inferred.expression_mlp_ratio) == int(24 * 2.572)


@pytest.mark.parametrize(("width", "hidden"), [(56, 61), (56, 115), (768, 3072), (768, 1975)])
def test_the_inferred_mlp_ratio_gives_the_hidden_width_back(width: int, hidden: int) -> None:
    state = to_state_dict(model())
    state["wsi_encoder._fc1.0.weight"] = torch.empty(width, 6, device="meta")
    state["rna_encoder.retention_blocks.0.mlp.fc1.weight"] = torch.empty(hidden, width, device="meta")
    assert int(width * infer_sizes(state).expression_mlp_ratio) == hidden


def test_the_prefix_of_data_parallel_training_does_not_matter() -> None:
    state = to_state_dict(model())
    loaded = from_state_dict({f"module.{name}": tensor for name, tensor in state.items()})
    assert torch.equal(to_state_dict(loaded)["prototypes.weight"], state["prototypes.weight"])


def test_published_weights_run_in_another_attention_form() -> None:
    state = to_state_dict(model())
    exact = from_state_dict(state, sizes=replace(infer_sizes(state), attention="exact"))
    assert exact.slide_encoder.attention1.inner.form.kind == "exact"


def test_missing_unexpected_and_misshapen_parameters_are_all_named() -> None:
    state = to_state_dict(model())
    del state["style_mu.bias"]
    state["epoch"] = torch.zeros(1)
    state["logit_scale"] = torch.zeros(2)
    with pytest.raises(ArtefactError) as caught:
        from_state_dict(state)
    for words in ("missing: style_mu.bias", "unexpected: epoch", "misshapen: logit_scale is (2,), not ()"):
        assert words in str(caught.value)


def test_another_models_checkpoint_is_refused() -> None:
    with pytest.raises(ArtefactError, match=r"has no 'wsi_encoder\._fc1\.0\.weight'"):
        from_state_dict({"layer.weight": torch.zeros(2, 2)})


@pytest.mark.parametrize("wrapped", [None, "state_dict", "model"])
@pytest.mark.parametrize("name", ["a.pt", "a.pth", "a.pth.tar", "a.safetensors"])
def test_every_kind_of_file_gives_its_tensors(tmp_path: Path, name: str, wrapped: str | None) -> None:
    state = to_state_dict(model())
    if name.endswith(".safetensors"):
        save_file(state, tmp_path / name)
    else:
        torch.save(state if wrapped is None else {wrapped: state, "epoch": 3}, tmp_path / name)
    loaded = load_checkpoint(tmp_path / name)
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in state.items())


class Payload:
    """What an ill-meant pickle holds: a call to be made on loading."""

    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.touched,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_would_execute_code_is_refused_and_does_not(tmp_path: Path, zipped: bool) -> None:
    file, touched = tmp_path / "evil.pt", tmp_path / "touched"
    torch.save({"state_dict": Payload(touched)}, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ArtefactError, match=r"evil\.pt holds more than tensors.*would execute code"):
        load_checkpoint(file)
    assert not touched.exists()


def test_a_checkpoint_with_its_arguments_inside_is_refused_with_the_remedy(tmp_path: Path) -> None:
    torch.save({"state_dict": to_state_dict(model()), "args": argparse.Namespace(lr=1)}, tmp_path / "a.pt")
    with pytest.raises(ArtefactError, match="save its state_dict alone"):
        load_checkpoint(tmp_path / "a.pt")


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_a_truncated_file_is_named(tmp_path: Path, kind: str, kept: float) -> None:
    file = tmp_path / ("a.safetensors" if kind == "safetensors" else "a.pt")
    state = to_state_dict(model())
    if kind == "safetensors":
        save_file(state, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=kind == "zip")
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ArtefactError, match=rf"{file.name} is .*(damaged|truncated)"):
        load_checkpoint(file)


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2], {"state_dict": {"a": "b"}}])
def test_a_file_without_tensors_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(ArtefactError, match=r"a\.pt holds"):
        load_checkpoint(tmp_path / "a.pt")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"there is no checkpoint .*a\.pt"):
        load_checkpoint(tmp_path / "a.pt")
