"""Where a model lies: a folder, or a repository of the Hugging Face hub in the cache of this machine.

The hub's own library does all of it, so HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE and a login mean what they always
mean. Of a repository only the files of a handed-on model are fetched, none of which can execute code.
"""

from __future__ import annotations

import re
from pathlib import Path

from mirror.errors import ArtefactError, ConfigError, first_line
from mirror.tasks.model_folder import ModelFolder

FILES = ("config.json", "model.safetensors", "panel.json", "README.md")

_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")


def find_model(path_or_id: str | Path, *, revision: str | None = None) -> ModelFolder:
    """The folder of a model: `path_or_id` itself where it is one, else the hub's repository of that name.

    `revision` is a branch, tag or commit of the repository. Without network, or with HF_HUB_OFFLINE=1, the copy in the
    cache is taken. Raises `ConfigError` when it is neither, or the extra `hub` is not installed, `ArtefactError`
    when the repository cannot be had.
    """
    path = Path(path_or_id).expanduser()
    if path.is_dir():
        if revision is not None:
            raise ConfigError(f"{path} is a folder and has no revisions; leave `revision` out")
        return ModelFolder(path)
    name = str(path_or_id)
    if not _HUB_ID.fullmatch(name):
        raise ConfigError(f"there is no folder {name}, and the name of a model on the hub is OWNER/NAME")
    return ModelFolder(Path(_snapshot(name, revision)))


def _snapshot(name: str, revision: str | None) -> str:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError:
        raise ConfigError(
            f"there is no folder {name}; if that is a model on the hub, it needs the extra: "
            'pip install "mirror-pathology[hub]"'
        ) from None
    try:
        return snapshot_download(name, revision=revision, allow_patterns=list(FILES))
    except LocalEntryNotFoundError as error:
        raise ArtefactError(
            f"there is no folder {name}, and as a model of the hub it is neither in the cache nor to be had "
            f"({first_line(error)}); give the command once with network, or copy the cache of another machine "
            "(HF_HOME says where it is)"
        ) from error
    except (HfHubHTTPError, HFValidationError) as error:
        raise ArtefactError(
            f"there is no folder {name}, and the hub does not give out such a model ({first_line(error)}); correct the "
            "name, or log in with `hf auth login` where it is private or gated"
        ) from error
