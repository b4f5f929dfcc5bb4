"""Values that travel between rooms. Legend: B pairs, T tiles, D tile-feature width, G genes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Fold(NamedTuple):
    """One split of the cohort by patient: everything is fitted on `train` and judged on `test`."""

    number: int
    train: tuple[str, ...]
    test: tuple[str, ...]


class Share(NamedTuple):
    """The rows of every batch that one of `world` processes computes, `rank` counted from 0; of one process all."""

    rank: int = 0
    world: int = 1

    def rows(self, batch: int) -> range:
        """Its rows of a batch of that many, a run; the shares are disjoint, and together they are all rows."""
        return range(self.rank * batch // self.world, (self.rank + 1) * batch // self.world)

    def computed(self, batch: int) -> slice:
        """Its rows, or one row all the same where it has none: every process must take part in every step."""
        rows = self.rows(batch)
        return slice(rows.start, max(rows.stop, rows.start + 1))


class PairedBatch(NamedTuple):
    """Slides and the expression profiles of the same patients.

    `slides` and `patients` name the whole batch. `tiles_BTD` float32 (B, T, D) and `expression_BG` float32 (B, G), as
    the panel gives it, are of the same rows: all of them, or (`Share.computed`) those of one of several processes. A
    row is of NaN in the modality that its patient lacks; the slide of a patient without one is called ''.
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
