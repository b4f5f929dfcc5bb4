"""Progress bars: one a stage, drawn when the work has taken longer than two seconds."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mirror.types import Progress as Report

PATIENCE_SECONDS = 1.5


@contextmanager
def progress_bar(console: Console, title: str) -> Generator[Report]:
    """Yield a `mirror.types.Progress` that draws a bar called `title` on `console` once the work proves long.

    A console that is no terminal (a log file, a batch job) gets one line a tenth of the way instead.
    """
    bar = Progress(
        TextColumn("[bold]{task.description}[/]"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[note]}[/]"),
        console=console,
        transient=True,
    )
    task = bar.add_task(title, total=None, note="")
    begun = time.monotonic()
    drawn = False
    tenth = 0

    def report(done: int, total: int, note: str = "") -> None:
        nonlocal drawn, tenth
        late = time.monotonic() - begun >= PATIENCE_SECONDS
        if console.is_terminal and late and not drawn:
            bar.start()
            drawn = True
        bar.update(task, completed=done, total=total, note=note)
        reached = 10 * done // max(total, 1)
        if not console.is_terminal and late and reached > tenth:
            left = (time.monotonic() - begun) * (total - done) / done
            about = f", about {timedelta(seconds=round(left))} left" if left >= 1 else ""
            console.print(f"{title}: {done}/{total} {note}{about}", markup=False, highlight=False)
        tenth = max(tenth, reached)

    try:
        yield report
    finally:
        if drawn:
            bar.stop()
