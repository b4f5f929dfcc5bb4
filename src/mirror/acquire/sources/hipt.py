"""HIPT's region features: one file a slide, kept by git LFS in a repository, at one commit of it.

The repository holds a pointer for each, three lines that name the sha256 and the size of the file itself; so every
file is pinned by the commit, though no one publishes a list of checksums.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import quote

from mirror.acquire.client import Client, SourceError
from mirror.acquire.remote import RemoteFile, safe_name
from mirror.acquire.settings import HiptConfig, HostsConfig
from mirror.ids import TcgaBarcode

_POINTER = re.compile(r"^version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize (\d+)\n?$")


class _Slide(NamedTuple):
    file: str
    patient: str


class Hipt:
    """The folder of features that `config` names."""

    def __init__(self, client: Client, hosts: HostsConfig, config: HiptConfig, *, workers: int) -> None:
        self._client, self._hosts, self._config, self._workers = client, hosts, config, workers

    def release(self) -> str:
        """The commit."""
        return f"{self._config.repository} at {self._config.commit}"

    def files(
        self, release: str, patients: Iterable[str], *, progress: Callable[[int, int, str], None]
    ) -> list[RemoteFile]:
        """The features of the slides of `patients`."""
        asked = set(patients)
        slides = [slide for slide in self._listed() if slide.patient in asked]
        made: list[RemoteFile] = []
        pool = ThreadPoolExecutor(self._workers)
        try:
            for file in pool.map(lambda slide: self._file(slide, release), slides):
                made.append(file)
                progress(len(made), len(slides), "checksums of HIPT's features")
        finally:
            pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for a thousand requests
        return made

    def _listed(self) -> list[_Slide]:
        config = self._config
        url = f"{self._hosts.github_api}/repos/{config.repository}/git/trees/{config.commit}:{quote(config.folder)}"
        tree: Any = self._client.json(url)
        if not isinstance(tree, dict) or not isinstance(tree.get("tree"), list) or tree.get("truncated"):
            raise SourceError(f"{url} does not list the folder whole; correct `hipt`, or report it")
        slides: list[_Slide] = []
        for entry in tree["tree"]:
            name = safe_name(str(entry.get("path", "")))
            if name.endswith(".pt"):
                barcode = TcgaBarcode.of(name.split(".", 1)[0])
                if barcode is not None:  # else no slide of TCGA, and so of nobody who can be asked for
                    slides.append(_Slide(name, barcode.patient))
        return sorted(slides)

    def _file(self, slide: _Slide, release: str) -> RemoteFile:
        config = self._config
        place = f"{config.repository}/{config.commit}/{quote(f'{config.folder}/{slide.file}')}"
        pointer = self._client.text(f"{self._hosts.github_raw}/{place}")
        match = _POINTER.match(pointer)
        if match is None:
            raise SourceError(f"{self._hosts.github_raw}/{place} is no pointer of git LFS; correct `hipt.commit`")
        return RemoteFile(
            path=f"features/{slide.file}",
            url=f"{self._hosts.github_media}/{place}",
            part="hipt",
            source="hipt",
            release=release,
            size=int(match[2]),
            checksum=f"sha256:{match[1]}",
            subject=slide.file.removesuffix(".pt"),
            patients=(slide.patient,),
        )
