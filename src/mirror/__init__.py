"""MIRROR: one representation of histopathology slides and gene expression, learned without labels.

Importing this package is cheap: torch and the other heavy libraries load with the room that needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mirror.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.workflow.handed_on import LoadedModel

__all__ = ["__version__", "load"]


def load(
    path_or_id: str | Path, *, revision: str | None = None, device: Literal["auto", "cpu", "cuda"] = "auto"
) -> LoadedModel:
    """The model in a folder that `mirror export` wrote, or in a repository `OWNER/NAME` of the Hugging Face hub.

    Of the hub, the copy in the cache is used without network (`HF_HOME`, `HF_HUB_OFFLINE`); `revision` is a branch,
    tag or commit. Only safetensors and JSON are read. `model.embed(...)` of what this gives embeds new patients.
    """
    from mirror.workflow.handed_on import load as load_model

    return load_model(path_or_id, revision=revision, device=device)
