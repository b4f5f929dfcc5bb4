"""The scripts of the project (pages, experiments, benchmarks), which are no modules of the package, as modules."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]


def load_script(name: str) -> ModuleType:
    """The script `name`.py of the project, such as `experiments/pairs_curve`, as a module."""
    path = ROOT / f"{name}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = made  # dataclasses look their own module up
    if str(path.parent) not in sys.path:  # scripts import what several of them need, as when they are run
        sys.path.append(str(path.parent))
    spec.loader.exec_module(made)
    return made
