"""What an output folder's features come from: one set of settings and one encoder, written beside them."""

from __future__ import annotations

from mirror.artefacts import fingerprint, read_json, write_json, write_text
from mirror.config import dump_config
from mirror.errors import ConfigError
from mirror.slides.encoders import TileEncoder, load_encoder
from mirror.slides.manifest import SlideEntry
from mirror.slides.settings import ExtractionConfig, settings_mark
from mirror.training.device import choose_device


class Origin:
    """The encoder, loaded when it is first needed, and the mark that every feature file of this folder carries.

    Raises `ConfigError` when the folder has features of other settings or other weights, unless `overwrite`.
    """

    def __init__(self, config: ExtractionConfig, *, overwrite: bool = False, download: bool = False) -> None:
        self._config, self._download = config, download
        self._path = config.output / "origin.json"
        self._encoder: TileEncoder | None = None
        recorded = read_json(self._path) if self._path.exists() and not overwrite else None
        if recorded is not None and recorded["settings"] != settings_mark(config):
            raise ConfigError(
                f"{config.output} has features of other settings ({config.output / 'slides.yaml'}); choose another "
                "`output`, or extract all of them anew with --overwrite"
            )
        self._revision = None if recorded is None else str(recorded["revision"])

    def encoder(self) -> TileEncoder:
        """The encoder, whose revision is the one that the folder already has features of."""
        if self._encoder is None:
            encoder = load_encoder(self._config, choose_device(self._config.device), download=self._download)
            if self._revision not in (None, encoder.revision):
                raise ConfigError(
                    f"{self._config.output} has features of '{encoder.name}' {self._revision}, but its weights are now "
                    f"{encoder.revision}; choose another `output`, or extract all of them anew with --overwrite"
                )
            self._encoder, self._revision = encoder, encoder.revision
            write_text(self._config.output / "slides.yaml", dump_config(self._config))
            mark = settings_mark(self._config)
            write_json(self._path, {"settings": mark, "encoder": encoder.name, "revision": encoder.revision})
        return self._encoder

    def mark(self, entry: SlideEntry) -> str:
        """A hash of all that decides a slide's features: settings, weights, resolution given, size of the file."""
        revision = self._revision if self._revision is not None else self.encoder().revision
        try:
            size = entry.path.stat().st_size
        except OSError:  # said, with the reason, when it is opened
            size = None
        return fingerprint(settings_mark(self._config), revision, entry.mpp, size)
