"""Values that travel between rooms. Legend: B pairs, T tiles, D tile-feature width, G genes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import Tensor


WHOLE = -1
"""Number of the fold in which everybody trains."""


class Fold(NamedTuple):
    """One split of the cohort by patient: everything is fitted on `train` and judged on `test`."""

    number: int
    train: tuple[str, ...]
    test: tuple[str, ...]

    @classmethod
    def whole(cls, patients: Iterable[str]) -> Fold:
        """Everybody trains and nobody is judged: for a model that is handed on."""
        return cls(WHOLE, tuple(patients), ())


class PairedBatch(NamedTuple):
    """Slides and the expression profiles of the same patients.

    `tiles_BTD` float32 (B, T, D); `expression_BG` float32 (B, G), as the panel gives it; row i of both is one patient,
    of NaN in the modality that this patient lacks, whose slide is then called ''.
    """

    slides: tuple[str, ...]
    patients: tuple[str, ...]
    tiles_BTD: Tensor
    expression_BG: Tensor


class Progress(Protocol):
    """Told how far a long piece of work has come; the command line draws it, the library stays silent.

    `done` may be a fraction where one piece takes long; a smaller one than before begins another piece of work.
    """

    def __call__(self, done: float, total: int, note: str = "") -> None: ...


def silent(done: float, total: int, note: str = "") -> None:
    """The default `Progress`: says nothing."""
    del done, total, note
