"""Tile encoders by name: LazySlide's zoo, timm's, and two that need no weights.

Nothing is downloaded unless that is asked for. Legend: B tiles, D feature width.
"""

from __future__ import annotations

import dis
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mirror.artefacts import hash_bytes, hash_file
from mirror.errors import ConfigError, first_line, nearest
from mirror.seeding import stream_seed
from mirror.slides.settings import WITHOUT_WEIGHTS, ExtractionConfig

Tile = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class TileEncoder:
    """`prepare` makes of a tile, RGB uint8 (px, px, 3), what is stacked; it runs in the reading threads.

    `encode` makes of a batch of those features (B, D), float32 on the CPU. `revision` says which weights these are.
    """

    name: str
    revision: str
    prepare: Callable[[Tile], torch.Tensor]
    encode: Callable[[torch.Tensor], torch.Tensor]


def load_encoder(config: ExtractionConfig, device: torch.device, *, download: bool = False) -> TileEncoder:
    """The encoder of the configuration, on `device`.

    Raises `ConfigError` with the step to take when its name is unknown, its weights are not in the hub's cache and
    `download` is False, the model is gated, or `weights` is a file that it cannot use.
    """
    if config.encoder == "stain-texture":
        return _stain_texture()
    if config.encoder == "random-resnet18":
        return _random_resnet18(config.seed, device)
    _set_hub(offline=not download)
    model = _load(config, download=download)
    return _wrapped(model, config, device)


def hub_revision(repository: str, cache: Path) -> str | None:
    """The commit of a hub repository that lies in the cache, or None where none does. Case does not matter."""
    folder = f"models--{repository.replace('/', '--')}".lower()
    if not cache.is_dir():
        return None
    refs = [path / "refs" / "main" for path in cache.iterdir() if path.name.lower() == folder]
    return next((ref.read_text().strip() for ref in refs if ref.is_file()), None)


def _stain_texture() -> TileEncoder:
    from mirror.slides.stain_texture import NAME, REVISION, stain_texture

    return TileEncoder(NAME, REVISION, lambda tile: torch.from_numpy(stain_texture(tile)), lambda batch: batch)


def _random_resnet18(seed: int, device: torch.device) -> TileEncoder:
    from torchvision.models import resnet18

    with torch.random.fork_rng(devices=[]):  # torchvision draws its weights from the global stream
        torch.manual_seed(stream_seed(seed, "random-resnet18"))
        network: Any = resnet18(weights=None)
    network.fc = torch.nn.Identity()
    network = network.eval().to(device, memory_format=torch.channels_last)
    transform = imagenet_transform()
    return TileEncoder(
        name="random-resnet18",
        revision=f"seed {seed}, weights {_hash_of(network)}",
        prepare=_per_tile(transform, device),
        encode=_inferred(network, transform, device),
    )


def imagenet_transform() -> Any:
    """224 px, ImageNet's mean and deviation: what encoders are given that say nothing else."""
    from torchvision.transforms import v2

    return v2.Compose(
        [
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Resize((224, 224), antialias=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )


def _set_hub(*, offline: bool) -> None:
    """Say it before the hub's library is imported, and again in case it already was."""
    os.environ["HF_HUB_OFFLINE"] = "1" if offline else "0"
    import huggingface_hub.constants

    huggingface_hub.constants.HF_HUB_OFFLINE = offline


def _load(config: ExtractionConfig, *, download: bool) -> Any:
    import timm
    from lazyslide_models import MODEL_REGISTRY, TimmModel, list_models

    name, weights = config.encoder, config.weights
    zoo = {*list_models("vision"), *list_models("multimodal")}
    card: Any = MODEL_REGISTRY[name] if name in zoo else None
    if card is None and not timm.is_model(name):
        known = (*WITHOUT_WEIGHTS, *sorted(zoo), "resnet50")
        raise ConfigError(f"encoder '{name}' is neither in LazySlide's zoo nor in timm's{nearest(name, known)}")
    if card is not None and not hasattr(card, "encode_image"):
        raise ConfigError(f"'{name}' encodes whole slides, not tiles; choose the tile encoder that it builds on")
    if weights is not None and not weights.is_file():
        raise ConfigError(f"there is no file of weights {weights}; correct `weights`")
    if weights is not None and card is not None and not _takes_weights(card):
        raise ConfigError(
            f"LazySlide loads '{name}' from the hub's cache only, and would ignore `weights`; leave `weights` out and "
            f"bring the cache: {_step(card, name)}"
        )
    if weights is not None:
        _require_plain(weights)
    try:
        if card is not None:
            return card(model_path=None if weights is None else str(weights))
        overlay: dict[str, Any] = {} if weights is None else {"pretrained_cfg_overlay": {"file": str(weights)}}
        return TimmModel(name, **overlay)
    except Exception as error:  # each model has its own way to fail
        if weights is not None:
            raise ConfigError(f"{weights} does not fit encoder '{name}': {first_line(error)}") from error
        raise ConfigError(_why(error, card, name, download=download)) from error


def _require_plain(weights: Path) -> None:
    """The libraries below load whatever they are given; a file of anything but tensors stops here."""
    if weights.suffix == ".safetensors":
        return
    try:
        torch.load(weights, map_location="meta", weights_only=True)
    except Exception as error:  # damaged bytes make torch's own unpickler fail in any way at all
        raise ConfigError(
            f"{weights} is no file of plain tensors ({first_line(error)}), and what it holds could execute code when "
            "loaded; save the model's state_dict with safetensors or torch.save"
        ) from error


def _why(error: Exception, card: Any, name: str, *, download: bool) -> str:
    what = first_line(error).rstrip(".")
    if isinstance(error, ImportError):
        return f"encoder '{name}' needs a library that is not here: {what}"
    if not download:
        return (
            f"the weights of encoder '{name}' are not in the cache, and nothing is downloaded unasked "
            f"({what}). {_step(card, name)}"
        )
    return f"the weights of encoder '{name}' could not be downloaded: {what}. {_step(card, name)}"


def _step(card: Any, name: str) -> str:
    import huggingface_hub.constants

    page = getattr(card, "hf_url", None)
    gated = bool(getattr(card, "is_gated", False))
    steps = [
        *([f"ask for access at {page}"] if gated else []),
        *(["log in with `hf auth login`"] if gated else []),
        "run the same command once with --download on a machine with network"
        + ("" if page is None or gated else f" ({page})"),
        f"or copy the hub's cache of another machine to {huggingface_hub.constants.HF_HUB_CACHE} (HF_HOME moves it)",
    ]
    if card is None or _takes_weights(card):
        steps.append("or name a file: `weights: FILE`")
    return f"Steps for '{name}': {'; '.join(steps)}"


def _takes_weights(card: Any) -> bool:
    """Whether a model's constructor reads its argument `model_path`; several of the zoo only declare it."""
    return any(
        step.argval == "model_path" and step.opname.startswith("LOAD") for step in dis.get_instructions(card.__init__)
    )


def _wrapped(model: Any, config: ExtractionConfig, device: torch.device) -> TileEncoder:
    model.to(device)
    if isinstance(model.model, torch.nn.Module):
        model.model.to(memory_format=torch.channels_last)  # convolutions on a CPU take a third less time
    transform = model.get_transform()
    return TileEncoder(
        name=config.encoder,
        revision=_revision(model, config),
        prepare=_per_tile(transform, device),
        encode=_inferred(model.encode_image, transform, device),
    )


def _revision(model: Any, config: ExtractionConfig) -> str:
    """The hub's commit where it is known, and always a hash of the weights: a name outlives them."""
    import huggingface_hub.constants

    network = model.model
    weights = _hash_of(network) if isinstance(network, torch.nn.Module) else "unknown"
    if config.weights is not None:
        return f"file {hash_file(config.weights)}, weights {weights}"
    of_timm = (getattr(network, "pretrained_cfg", None) or {}).get("hf_hub_id")
    repository = of_timm or str(getattr(model, "hf_url", None) or "").removeprefix("https://huggingface.co/")
    commit = hub_revision(repository, Path(huggingface_hub.constants.HF_HUB_CACHE)) if repository else None
    return f"weights {weights}" if commit is None else f"{repository} {commit}, weights {weights}"


def _batched(transform: Any, device: torch.device) -> bool:
    """On a GPU a transform of torchvision's v2 is applied there, to whole batches; elsewhere in the reading threads."""
    from torchvision.transforms import v2

    return device.type == "cuda" and isinstance(transform, v2.Compose)


def _per_tile(transform: Any, device: torch.device) -> Callable[[Tile], torch.Tensor]:
    if transform is None:
        return torch.from_numpy  # such models bring a processor of their own, which takes (B, px, px, 3)
    if _batched(transform, device):
        return lambda tile: torch.from_numpy(tile).permute(2, 0, 1)
    return lambda tile: torch.as_tensor(transform(tile))


def _inferred(
    encode: Callable[[torch.Tensor], Any], transform: Any, device: torch.device
) -> Callable[[torch.Tensor], torch.Tensor]:
    on_batch = transform if transform is not None and _batched(transform, device) else None

    @torch.inference_mode()
    def features(batch: torch.Tensor) -> torch.Tensor:
        on_device = batch.to(device, non_blocking=True)
        given = encode(on_device if on_batch is None else on_batch(on_device))
        return torch.as_tensor(given).detach().float().cpu()

    return features


def _hash_of(network: torch.nn.Module) -> str:
    state = network.state_dict()
    return hash_bytes(
        state[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data for name in sorted(state)
    )
