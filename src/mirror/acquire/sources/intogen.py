"""IntOGen: the compendium of cancer driver genes, a table in a zip archive whose name is its release."""

from __future__ import annotations

from urllib.parse import urlencode

from mirror.acquire.client import Client
from mirror.acquire.remote import RemoteFile
from mirror.acquire.settings import GenesConfig

TABLE = "Compendium_Cancer_Genes.tsv"
SYMBOL, CANCER_TYPE = "SYMBOL", "CANCER_TYPE"


class IntOGen:
    """The download page at `base`."""

    def __init__(self, client: Client, base: str, config: GenesConfig) -> None:
        self._client, self._config = client, config
        self._url = f"{base}?{urlencode({'file': config.archive})}"

    def release(self) -> str:
        """The name of the archive, which has its date."""
        return self._config.archive.removesuffix(".zip")

    def files(self, release: str) -> list[RemoteFile]:
        """The archive."""
        length = self._client.head(self._url).get("content-length", "")
        size = int(length) if length.isdecimal() else None
        return [RemoteFile(f"genes/{self._config.archive}", self._url, "genes", "intogen", release, size=size)]
