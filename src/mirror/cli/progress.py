"""Progress bars: one a stage, drawn when the work has taken longer than two seconds."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from mirror.types import Progress as Report

PATIENCE_SECONDS = 1.5


@contextmanager
def progress_bar(console: Console, title: str) -> Generator[Report]:
    """Yield a `mirror.types.Progress` that draws a bar called `title` on `console` once the work proves long.

    A console that is no terminal (a log file, a batch job) gets one line a tenth of the way instead. The remaining time
    goes by all that was done since the work began: a bar that looks back half a minute knows none where a step takes
    longer.
    """
    bar = Progress(
        TextColumn("{task.description}", style="bold", markup=False),  # names are text, not markup nor emoji
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}", markup=False),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
        console=console,
        transient=True,
    )
    task = bar.add_task(title, total=None, note="", left="")
    begun = since = time.monotonic()
    drawn = False
    tenth = 0
    first = 0.0
    last: float | None = None

    def report(done: float, total: int, note: str = "") -> None:
        nonlocal drawn, tenth, since, first, last
        now = time.monotonic()
        late = now - begun >= PATIENCE_SECONDS
        if last is None or done < last:  # another piece of work, or one that goes on where it was left
            since, first, tenth = now, done, 0
        last = done
        left = (now - since) * (total - done) / (done - first) if done > first else 0.0
        about = f"about {timedelta(seconds=round(left))} left" if left >= 1 else ""
        if console.is_terminal and late and not drawn:
            bar.start()
            drawn = True
        bar.update(task, completed=done, total=total, note=note, left=about)
        reached = int(10 * done / max(total, 1))
        if not console.is_terminal and late and reached > tenth:
            said = ", ".join(filter(None, (note, about)))
            console.print(f"{title}: {int(done)}/{total} {said}".rstrip(), markup=False, highlight=False)
        tenth = max(tenth, reached)

    try:
        yield report
    finally:
        if drawn:
            bar.stop()
