"""Five folds through `mirror workflow` against the plain loop of `mirror run`: what the graph of jobs costs.

    python benchmarks/workflow.py                      # folds of 20 s: the cost of a job, and its share of five minutes
    python benchmarks/workflow.py --fold-seconds 300   # folds of five minutes: 50 minutes and more

A simulated cohort and the default preset, as many epochs as make a fold long enough. Both ways run the same stages on
the same settings, one thread a process; the loop is one process that trains one fold after another, the workflow starts
a process for each job, up to two at a time. Seconds are of the processor, all processes together: what else the
machine does then changes little. The last line is one JSON object; `overhead_at_300_s` is the difference, in the same
seconds, over the loop with folds of five minutes: what was measured where folds are as long, else computed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import yaml

from mirror.simulate.cohort import simulate_cohort

FOLDS, FIVE_MINUTES = 5, 300.0
CALIBRATION = (10, 110)
"""Epochs of two short runs, whose difference says what an epoch costs."""


class Cost(NamedTuple):
    """Seconds by the clock, and of the processor."""

    clock: float
    processor: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fold-seconds", type=float, default=20.0)
    parser.add_argument("--cores", type=int, default=2)
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate_cohort(folder, seed=0)
        short, long = (trained(folder, f"calibrate{epochs}", epochs) for epochs in CALIBRATION)
        an_epoch = max((long - short) / (CALIBRATION[1] - CALIBRATION[0]), 1e-4)
        epochs = max(1, round(asked.fold_seconds / an_epoch))
        seconds = epochs * an_epoch
        loop = timed("run", study(folder, "loop", epochs))
        workflow = timed("workflow", study(folder, "workflow", epochs), "--cores", str(asked.cores))
        again = timed("workflow", folder / "workflow.yaml", "--cores", str(asked.cores))
    jobs = 2 * FOLDS + 3
    extra = workflow.processor - loop.processor
    five = loop.processor + FOLDS * (FIVE_MINUTES - seconds)
    print(f"{FOLDS} folds of {seconds:.1f} s ({epochs} epochs), {jobs} jobs, {asked.cores} cores\n")
    print(f"{'':24}{'clock s':>10}{'processor s':>14}")
    for title, cost in (("mirror run", loop), ("mirror workflow", workflow), ("the same, nothing to do", again)):
        print(f"{title:24}{cost.clock:10.1f}{cost.processor:14.1f}")
    print(f"\na job costs {extra / jobs:.1f} s of the processor; of folds of five minutes {extra / five:.1%} in all")
    numbers = {
        "fold_seconds": round(seconds, 1),
        "loop": loop._asdict(),
        "workflow": workflow._asdict(),
        "processor_ratio": round(workflow.processor / loop.processor, 3),
        "clock_ratio": round(workflow.clock / loop.clock, 3),
        "seconds_a_job": round(extra / jobs, 2),
        "overhead_at_300_s": round(extra / five, 4),
        "measured_at_300_s": seconds >= 0.9 * FIVE_MINUTES,
    }
    print(json.dumps(numbers))


def study(folder: Path, name: str, epochs: int) -> Path:
    """A configuration of five folds of so many epochs, its output a folder of its name."""
    content = yaml.safe_load((folder / "demo.yaml").read_text())
    content["cohort"]["folds"] = {"count": FOLDS}
    content |= {"output": name, "device": "cpu", "evaluation": {"components": [8], "draws": 5}}
    content["pretraining"] = {**content["pretraining"], "epochs": epochs}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def trained(folder: Path, name: str, epochs: int) -> float:
    """Processor seconds of training fold 0 alone."""
    return timed("pretrain", study(folder, name, epochs), "--fold", "0").processor


def timed(*words: str | Path) -> Cost:
    """Run a command of `mirror` with all processes that it starts. Ends the benchmark where it fails."""
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "mirror", *map(str, words)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ended.returncode:
        raise SystemExit(ended.stdout)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(round(time.monotonic() - begun, 1), round(processor, 1))


if __name__ == "__main__":
    main()
