"""Checkpoints trained with the authors' code: their parameter names, their sizes, their files.

Shapes tell every width, the depth and the slide heads (published: 8, one filter each). They do not tell the
expression heads (12 is assumed), the landmarks (half the width), dropout (0.1) and mask ratio (0.75): pass `sizes`
to say otherwise.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mirror.errors import ArtefactError, raise_together
from mirror.nn.mirror import Mirror, MirrorSizes

PUBLISHED_NAMES = MappingProxyType(
    {
        "slide_encoder.embed": "wsi_encoder._fc1.0",
        "slide_encoder.class_token": "wsi_encoder.cls_token",
        "slide_encoder.attention1": "wsi_encoder.layer1",
        "slide_encoder.grid.conv7": "wsi_encoder.pos_layer.proj",
        "slide_encoder.grid.conv5": "wsi_encoder.pos_layer.proj1",
        "slide_encoder.grid.conv3": "wsi_encoder.pos_layer.proj2",
        "slide_encoder.attention2": "wsi_encoder.layer2",
        "slide_encoder.norm": "wsi_encoder.norm",
        "slide_retention.embed": "wsi_encoder.retention_embed",
        "slide_retention.mask_token": "wsi_encoder.mask_token",
        "slide_retention.position": "wsi_encoder.retention_gene_embed",
        "slide_retention.block": "wsi_encoder.retention_blocks.0",
        "slide_retention.norm": "wsi_encoder.retention_norm",
        "slide_retention.head": "wsi_encoder.retention_head",
        "expression_encoder.embed": "rna_encoder.embedding",
        "expression_encoder.offset": "rna_encoder.gene_embed",
        "expression_encoder.blocks": "rna_encoder.blocks",
        "expression_encoder.norm": "rna_encoder.norm",
        "expression_retention.embed": "rna_encoder.retention_embed",
        "expression_retention.mask_scalar": "rna_encoder.mask_token",
        "expression_retention.offset": "rna_encoder.retention_gene_embed",
        "expression_retention.block": "rna_encoder.retention_blocks.0",
        "expression_retention.norm": "rna_encoder.retention_norm",
        "expression_retention.head": "rna_encoder.retention_head",
        "alignment.slide": "wsi_encoder.alignment_head",
        "alignment.expression": "rna_encoder.alignment_head",
        "alignment.log_scale": "logit_scale",
        "style.encoder": "style_encoder_mlp",
        "style.mean": "style_mu",
        "style.log_variance": "style_logstd",
        "style.decode": "style_decoder",
        "style.prototypes": "prototypes",
    }
)
"""Our parts and theirs. A name is mapped by its longest prefix here; the rest of it by `_INNER_NAMES`."""

_INNER_NAMES = (
    ("inner.qkv", "attn.to_qkv"),
    ("inner.value_conv", "attn.res_conv"),
    ("inner.project", "attn.to_out.0"),
    ("attention.qkv", "attn.qkv"),
    ("attention.project", "attn.proj"),
)


def published_name(name: str) -> str:
    """Our parameter name in the authors' words."""
    prefix = max((part for part in PUBLISHED_NAMES if name == part or name.startswith(part + ".")), key=len)
    rest = name[len(prefix) :]
    for ours, theirs in _INNER_NAMES:
        rest = rest.replace(ours, theirs)
    return PUBLISHED_NAMES[prefix] + rest


def to_state_dict(model: Mirror) -> dict[str, Tensor]:
    """The weights of `model` under the authors' names; the inverse of `from_state_dict`."""
    return {published_name(name): tensor for name, tensor in model.state_dict().items()}


def infer_sizes(state: Mapping[str, Tensor]) -> MirrorSizes:
    """Every size the shapes tell, in the published form; see the module's words for what they do not tell.

    Raises `ArtefactError` when a tensor it reads is missing or has too few dimensions.
    """
    state = _without_prefix(state)

    def size(name: str, dim: int) -> int:
        if name not in state:
            raise ArtefactError(f"the checkpoint has no '{name}'; is it a pretraining checkpoint of MIRROR?")
        if state[name].ndim <= dim:
            raise ArtefactError(f"'{name}' of the checkpoint has shape {tuple(state[name].shape)}; it is damaged")
        return state[name].shape[dim]

    width, hidden = size("wsi_encoder._fc1.0.weight", 0), size("rna_encoder.retention_blocks.0.mlp.fc1.weight", 0)
    ratio = hidden / width
    blocks = {name.split(".")[2] for name in state if name.startswith("rna_encoder.blocks.")}
    return MirrorSizes(
        tile_dim=size("wsi_encoder._fc1.0.weight", 1),
        genes=size("rna_encoder.embedding.fc1.weight", 1),
        tiles=size("wsi_encoder.retention_gene_embed", 1) - 1,
        width=width,
        slide_heads=size("wsi_encoder.layer1.attn.res_conv.weight", 0),
        expression_depth=len(blocks),
        # The block truncates `width * ratio`, which rounding may have left just below the hidden width.
        expression_mlp_ratio=ratio if int(width * ratio) == hidden else math.nextafter(ratio, math.inf),
        style_hidden=size("style_encoder_mlp.fc1.weight", 0),
        style_out=size("style_encoder_mlp.fc2.weight", 0),
        style_latent=size("style_mu.weight", 0),
        prototypes=size("prototypes.weight", 0),
    )


def from_state_dict(state: Mapping[str, Tensor], *, sizes: MirrorSizes | None = None) -> Mirror:
    """A model in evaluation mode with these weights (copied, float32).

    Args:
        state: parameters under the authors' names, with or without `module.` in front.
        sizes: `infer_sizes(state)` when None; pass a `dataclasses.replace` of it to switch, say, the attention.

    Raises `ArtefactError` that lists every missing, unexpected or misshapen parameter.
    """
    state = _without_prefix(state)
    with torch.device("meta"):
        model = Mirror(sizes or infer_sizes(state))
    expected = {published_name(name): (name, tensor) for name, tensor in model.state_dict().items()}
    problems = [f"missing: {key}" for key in expected if key not in state]
    problems += [f"unexpected: {key}" for key in state if key not in expected]
    problems += [
        f"misshapen: {key} is {tuple(state[key].shape)}, not {tuple(tensor.shape)}"
        for key, (_, tensor) in expected.items()
        if key in state and state[key].shape != tensor.shape
    ]
    raise_together(ArtefactError, "the checkpoint does not hold a published MIRROR model of one size:", problems)
    ours = {name: state[key].detach().to(torch.float32, copy=True) for key, (name, _) in expected.items()}
    model.load_state_dict(ours, assign=True)
    return model.eval()


def load_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors`, or of a `.pt`, `.pth` or `.pth.tar` with them under `state_dict`, `model` or
    at the top. Nothing in the file is executed.

    Raises `ArtefactError` when the file is missing, truncated, or would execute code on loading.
    """
    if not path.is_file():
        raise ArtefactError(f"there is no checkpoint {path}")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    for key in ("state_dict", "model"):
        if isinstance(content.get(key), Mapping):
            content = content[key]
            break
    others = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if others or not content:
        found = f"entries that are no tensors ({', '.join(map(str, others[:5]))})" if others else "nothing"
        raise ArtefactError(f"{path} holds {found}; save the model's state_dict alone and load that")
    return dict(content)


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise ArtefactError(f"{path} is damaged or no safetensors file ({error}); copy it again") from error


def _read_torch(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported global" in str(error) or "GLOBAL" in str(error):
            raise ArtefactError(
                f"{path} holds more than tensors, and loading it would execute code that came with it; "
                "where you trust it, load it there and save its state_dict alone"
            ) from error
        raise ArtefactError(f"{path} is damaged or no checkpoint of PyTorch; copy it again") from error
    except Exception as error:  # a pickle cut anywhere raises whatever its reader stumbles over
        raise ArtefactError(f"{path} is truncated or damaged ({error}); copy it again") from error
    if not isinstance(content, dict):
        raise ArtefactError(f"{path} holds a {type(content).__name__}, not a mapping of names to tensors")
    return content


def _without_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names as the bare model has them: data-parallel training puts `module.` in front."""
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}
