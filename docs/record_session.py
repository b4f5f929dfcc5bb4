"""Write docs/sessions/init.txt: a terminal session from `mirror init` to the report, as it really went.

python docs/record_session.py

A folder as people have it (TRIDENT's features, a table of RNA, a clinical table) is made from a simulated cohort; the
commands then run in a terminal of their own, where the answers are typed in. Where the text waits for is in `ANSWERS`:
a session that asks something else, or ends otherwise, is an error here and not a wrong page.
"""

from __future__ import annotations

import os
import pty
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import h5py
import pandas as pd

from mirror.artefacts import write_text
from mirror.data.feature_store import Bag
from mirror.simulate.cohort import MPP, TILE_PX, SimulationSizes, simulate_cohort

PAGE = Path(__file__).resolve().parent / "sessions" / "init.txt"

MIRROR = (sys.executable, "-m", "mirror")

ANSWERS = (
    ("Name of the cohort [my_cohort]:", ""),
    ("Is that right? [Y/n]:", ""),
    ("The expression table?", ""),
    ("units:", "log2(RSEM + 1)"),
    ("The clinical table?", ""),
    ("The subtype that is to be told?", ""),
    ("or all [all]:", ""),
    ("The time to the event", ""),
    ("is in", ""),
    ("Whether it happened?", ""),
    ("It is never guessed.", "2"),
    ("Folds of the cross-validation [5]:", "2"),
)
"""What the terminal says, and what is typed then; an empty answer takes the default."""


def make_folder(folder: Path, *, patients: int = 60) -> None:
    """Features as TRIDENT leaves them, RNA with genes in rows, clinical rows with `censorship`; no slide table."""
    source = folder.with_name("simulated")
    sizes = SimulationSizes(patients=patients, genes=120, tile_features=32, tiles=(8, 20))
    simulate_cohort(source, seed=1, sizes=sizes)
    job = folder / "trident" / "20x_512px_0px_overlap"
    (job / "features_uni_v1").mkdir(parents=True)
    (job / "patches").mkdir()
    for path in sorted((source / "features").glob("SIM-0*.h5")):
        as_trident_writes(path, job)
    rna = pd.read_csv(source / "expression.csv.gz", index_col="case_id").clip(lower=0).T
    rna.rename_axis("gene_name").to_csv(folder / "rna.tsv.gz", sep="\t")
    clinical = pd.read_csv(source / "clinical.csv")
    clinical["censorship"] = 1 - clinical.pop("event").astype("Int64")
    clinical.to_csv(folder / "clinical.csv", index=False)
    shutil.rmtree(source)


def as_trident_writes(path: Path, job: Path) -> None:
    """One slide's positions and features in TRIDENT's layout."""
    bag = Bag(path)
    coords = bag.coords()
    attributes = {
        "patch_size": TILE_PX,
        "patch_size_level0": 2 * TILE_PX,
        "level0_magnification": 40,
        "target_magnification": round(10 / MPP),
        "overlap": 0,
        "name": path.stem,
    }
    with h5py.File(job / "patches" / f"{path.stem}_patches.h5", "w") as file:
        file.create_dataset("coords", data=coords, chunks=(1, 2)).attrs.update(attributes)
    with h5py.File(job / "features_uni_v1" / path.name, "w") as file:
        features = file.create_dataset("features", data=bag.read(), chunks=(1, bag.width))
        features.attrs.update({"name": path.stem, "encoder": "uni_v1"})
        file.create_dataset("coords", data=coords, chunks=(1, 2)).attrs.update(attributes)


def run_in_terminal(command: list[str], where: Path, answers: tuple[tuple[str, str], ...] = ()) -> str:
    """What a terminal shows of a command; each answer is typed when its question has been asked.

    Raises `RuntimeError` where a question does not come, another one does, or the command fails.
    """
    environment = {**os.environ, "COLUMNS": "110", "LINES": "50", "TERM": "dumb", "NO_COLOR": "1"}
    process, terminal = pty.fork()
    if process == 0:  # pragma: no cover - the other process
        os.chdir(where)
        os.execvpe(command[0], command, environment)
    shown, read, waiting = "", 0, list(answers)
    deadline = time.monotonic() + 1800
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # Linux says so when the other end is closed
            piece = b""
        if not piece:
            break
        shown += piece.decode(errors="replace")
        if time.monotonic() > deadline:
            os.kill(process, 9)
            raise RuntimeError(f"waited too long; so far:\n{shown}")
        # The space comes in a write of its own: who answers before it has it in the next line.
        if waiting and waiting[0][0] in shown[read:] and shown.endswith(": "):
            os.write(terminal, f"{waiting[0][1]}\n".encode())
            read = len(shown)
            waiting.pop(0)
    _, status = os.waitpid(process, 0)
    if os.waitstatus_to_exitcode(status) or waiting:
        raise RuntimeError(f"{' '.join(command)} ended otherwise, waiting for {waiting}:\n{shown}")
    return shown.replace("\r\n", "\n")


def record(folder: Path) -> str:
    """The whole session in `folder`, an empty one."""
    parts = [*first_part(folder), run_part(folder)]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def first_part(folder: Path) -> list[str]:
    """The folder, `mirror init` and what it writes."""
    cohort = folder / "my_cohort"
    make_folder(cohort)
    parts = [
        "$ ls my_cohort\n" + "".join(f"{path.name}\n" for path in sorted(cohort.iterdir())),
        "$ mirror init my_cohort\n" + run_in_terminal([*MIRROR, "init", "my_cohort"], folder, ANSWERS),
        "$ cat my_cohort/my_cohort.yaml\n" + (cohort / "my_cohort.yaml").read_text(),
    ]
    return [settled(part, folder) for part in parts]


def run_part(folder: Path) -> str:
    """`mirror run` of what `first_part` left."""
    shown = run_in_terminal([*MIRROR, "run", "my_cohort/my_cohort.yaml"], folder)
    if not (folder / "my_cohort" / "runs" / "my_cohort" / "report.html").is_file():
        raise RuntimeError(f"there is no report:\n{shown}")
    return settled(f"$ mirror run my_cohort/my_cohort.yaml\n{shown}", folder)


def settled(text: str, folder: Path) -> str:
    """Without what differs from one run to the next: colours, seconds, progress, the folder's place."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace(f"{folder.resolve()}/", "")
    lines = (line.rsplit("\r", 1)[-1].rstrip() for line in text.split("\n"))
    kept = [line for line in lines if not re.match(r"^\w[\w ]*: \d+/\d+ ", line)]
    text = re.sub(r"\b\d+ s on\b", "N s on", "\n".join(kept))
    # A bar that was drawn because the machine was busy leaves an empty line.
    text = re.sub(r"(?m)^(\$ .*\n)\n+", r"\1", text)
    return re.sub(r"\n\n+(?=(pretrain|embed|evaluate|audit|report) )", "\n", text)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_text(PAGE, record(Path(folder)))


if __name__ == "__main__":
    main()
