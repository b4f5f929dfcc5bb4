"""A Xena hub: the transcript matrix of the Toil recompute, and the map from its transcripts to genes.

The hub keeps no versions and names no checksums; what stands in for a release is when its files were last changed.
"""

from __future__ import annotations

import zlib
from urllib.parse import quote

from mirror.acquire.client import Client, SourceError, Trouble
from mirror.acquire.remote import RemoteFile
from mirror.acquire.settings import ToilConfig

MATRIX = "expression/tcga_RSEM_isoform_fpkm.tsv.gz"
PROBE_MAP = "expression/gencode.v23.annotation.transcript.probemap.tsv"
"""Where the two files lie, with endings by which tables are read."""

_LONGEST_HEADER = 16 << 20


class Xena:
    """The hub at `base`."""

    def __init__(self, client: Client, base: str, config: ToilConfig) -> None:
        self._client = client
        self._matrix, self._map = (
            f"{base.rstrip('/')}/{quote(name, safe='')}" for name in (config.matrix, config.probe_map)
        )

    def release(self) -> str:
        """When matrix and map were changed last."""
        return "; ".join(
            f"{name} of {self._client.head(url).get('last-modified', 'unknown date')}"
            for name, url in (("matrix", self._matrix), ("map", self._map))
        )

    def files(self, release: str) -> list[RemoteFile]:
        """The matrix and the map."""
        return [
            RemoteFile(path, url, "toil", "xena", release, size=self._size(url))
            for path, url in ((MATRIX, self._matrix), (PROBE_MAP, self._map))
        ]

    def samples(self) -> list[str]:
        """The samples of the matrix, read from its first bytes alone."""

        def attempt() -> list[str]:
            inflate, text = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16), b""
            with self._client.get(self._matrix) as response:
                while b"\n" not in text:
                    piece = response.read(64 << 10)
                    if not piece or len(text) > _LONGEST_HEADER:
                        raise SourceError(f"{self._matrix} has no line of sample names; is it the matrix, gzipped?")
                    try:
                        text += inflate.decompress(piece)
                    except zlib.error:
                        raise Trouble(f"{self._matrix} does not begin as a gzip file") from None
            return text.split(b"\n", 1)[0].decode("utf-8").rstrip("\r").split("\t")[1:]

        return self._client.patiently(attempt)

    def _size(self, url: str) -> int | None:
        length = self._client.head(url).get("content-length", "")
        return int(length) if length.isdecimal() else None
