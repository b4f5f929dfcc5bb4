"""What `pretraining.compile` saves of a step, and after how many steps it has earned its first one.

    python benchmarks/compiled.py [--steps 4]

The default preset on a batch of 256 x 64 tiles, and the published model with exact attention on 4 x 512. Seconds are of
the processor, its compilers included; the clock's are beside them. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable

import torch
from steps.variants import Size, Stepper

from mirror.training.compiled import compile_in_place

SIZES = {"mirror": Size(256, 64, 768, 2000, 768), "exact": Size(4, 512, 768, 2000, 768)}


def spent(step: Callable[[], float]) -> tuple[float, float]:
    """Seconds of the processor, children included, and by the clock."""

    def processor() -> float:
        used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(one.ru_utime + one.ru_stime for one in used)

    began, clock = processor(), time.perf_counter()
    step()
    return processor() - began, time.perf_counter() - clock


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4)
    asked = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found: dict[str, float] = {}
    for variant, size in SIZES.items():
        stepper = Stepper(variant, size, device)
        stepper.step()
        plain = statistics.median(spent(stepper.step)[0] for _ in range(asked.steps))
        compile_in_place(stepper.task.model)
        first, waited = spent(stepper.step)
        stepper.step()  # the step after the first may compile once more
        compiled = statistics.median(spent(stepper.step)[0] for _ in range(asked.steps))
        pays = f"{first / (plain - compiled):.0f} steps" if compiled < plain else "never"
        print(
            f"{variant}: {plain:.3f} s a step, compiled {compiled:.3f}; the first step {first:.1f} s, "
            f"{waited:.1f} by the clock; it pays after {pays}"
        )
        found |= {f"step_ratio_{variant}": compiled / plain, f"first_step_{variant}": first}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
