"""Is this machine ready? Versions, devices, memory, disk, caches, encoders, and a computation that must come out right.

Every check gives what was found, and where something is wrong what to do about it; none changes anything.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from packaging.requirements import Requirement

from mirror.data.feature_file import BagFacts, write_bag
from mirror.data.feature_store import Bag
from mirror.errors import MirrorError, first_line
from mirror.nn.canonical import CanonicalSizes, build_canonical
from mirror.seeding import generator_for
from mirror.tasks.model_folder import PACKAGE
from mirror.tasks.trained import built
from mirror.training.checkpoint import load_weights, save_weights
from mirror.training.device import choose_device
from mirror.workflow.canonical import sizes_record

State = Literal["good", "note", "problem"]

GIB = 1 << 30
LEAST_MEMORY, LEAST_DISK = 4 * GIB, 5 * GIB
"""What the main job on a cohort of a thousand slides wants at the least."""

TOLERANCE = 1e-4
"""By which a device may differ from the CPU, as the parity tests allow."""


class Finding(NamedTuple):
    """One thing that was looked at; `remedy` says what to do where `state` is a problem or a note."""

    topic: str
    state: State
    found: str
    remedy: str = ""


def examine(folder: Path) -> list[Finding]:
    """All findings; `folder` is where the work is to be done."""
    return [
        *versions_found(),
        *extras_found(),
        *devices_found(),
        *memory_found(),
        *disk_found(folder),
        *caches_found(),
        *encoders_found(),
        self_test(),
    ]


def versions_found() -> Iterable[Finding]:
    """The package, Python, and each library against the range that is declared."""
    yield Finding("mirror", "good", f"{version(PACKAGE)}, Python {platform.python_version()}, {platform.platform()}")
    wrong = list(wrong_versions(requires(PACKAGE) or ()))
    for name, found, wanted in wrong:
        remedy = f'pip install "{name}{wanted}"'
        yield Finding("libraries", "problem", f"{name} {found or 'is missing'}, wanted {wanted}", remedy)
    if not wrong:
        yield Finding("libraries", "good", f"torch {version('torch')}, and all others within their declared ranges")


def wrong_versions(declared: Iterable[str], *, extra: str = "") -> Iterable[tuple[str, str | None, str]]:
    """Name, version found (None where it is missing) and range of each declared library that does not fit."""
    for line in declared:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            found = None
        if found is None or not requirement.specifier.contains(found, prereleases=True):
            yield requirement.name, found, str(requirement.specifier)


EXTRAS = {
    "slides": ("lazyslide", "reading slides"),
    "data": ("urllib3", "public data by recipe"),
    "workflow": ("snakemake", "studies as one graph of jobs"),
    "explain": ("captum", "gradients of what speaks for a class"),
    "view": ("starlette", "looking at a run in the browser"),
    "hub": ("huggingface_hub", "models by their name on the hub"),
}
"""Optional parts: a library that only they need, and what for."""


def extras_found() -> Iterable[Finding]:
    """Which optional parts are installed."""
    for extra, (module, purpose) in EXTRAS.items():
        there = importlib.util.find_spec(module) is not None
        install = "" if there else f'pip install "{PACKAGE}[{extra}]"'
        yield Finding(f"extra {extra}", "good" if there else "note", f"{purpose}: {'yes' if there else 'no'}", install)


def devices_found() -> Iterable[Finding]:
    """What torch computes on."""
    threads = torch.get_num_threads()
    yield Finding("processor", "good", f"{os.cpu_count()} cores, torch uses {threads} threads (OMP_NUM_THREADS)")
    if not torch.cuda.is_available():
        yield Finding(
            "GPU", "note", "none that torch sees", "not needed; the preset `published` on large bags wants one"
        )
        return
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
        yield Finding("GPU", "good", f"{about.name}, {about.total_memory / GIB:.0f} GiB, {bf16}")


def memory_found() -> Iterable[Finding]:
    """Memory of the machine, or of the container where that has less."""
    total = memory_limit()
    if total is None:
        return
    enough = total >= LEAST_MEMORY
    remedy = "" if enough else "choose a larger machine, or smaller cohorts; 4 GiB is the least for a thousand slides"
    yield Finding("memory", "good" if enough else "problem", f"{total / GIB:.1f} GiB", remedy)


def memory_limit() -> int | None:
    """Bytes of memory, None where the system does not say."""
    known: list[int] = []
    if "SC_PHYS_PAGES" in os.sysconf_names:
        known.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        path = Path(file)
        if path.is_file() and (text := path.read_text().strip()).isdecimal():
            known.append(int(text))
    return min(known, default=None)


def disk_found(folder: Path) -> Iterable[Finding]:
    """Room where the work is done and where temporary files go, and whether files can be written there."""
    for topic, place in (("disk", folder), ("temporary", Path(tempfile.gettempdir()))):
        free = free_space(place)
        room = f"{place.resolve()}: {free / GIB:.1f} GiB free"
        if not os.access(place, os.W_OK):
            yield Finding(topic, "problem", f"{place.resolve()} cannot be written", "work in a folder of your own")
        elif free < LEAST_DISK:
            yield Finding(topic, "problem", room, "free space, or name an `output` on another disk")
        else:
            yield Finding(topic, "good", room)


def free_space(folder: Path) -> int:
    """Bytes that can still be written on the disk of a folder."""
    return shutil.disk_usage(folder).free


def caches_found() -> Iterable[Finding]:
    """The hub's cache, which encoders and models come from, and whether network is switched off."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    stored = sorted(path.name for path in cache.glob("models--*")) if cache.is_dir() else []
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    said = f"{cache}: {len(stored)} models{', offline (HF_HUB_OFFLINE)' if offline else ''}"
    yield Finding("hub's cache", "good", said, "HF_HOME moves it" if not stored else "")


def encoders_found() -> Iterable[Finding]:
    """Tile encoders of LazySlide's zoo with their licences, those whose weights are in the cache named."""
    if importlib.util.find_spec("lazyslide_models") is None:
        return
    import huggingface_hub.constants

    from mirror.slides.encoders import hub_revision
    from mirror.slides.licences import encoder_terms

    cache = Path(huggingface_hub.constants.HF_HUB_CACHE)
    for terms in encoder_terms().values():
        repository = (terms.page or "").removeprefix("https://huggingface.co/")
        there = bool(repository) and hub_revision(repository, cache) is not None
        remedy = "" if there else f"mirror slides ... --encoder {terms.name} --download"
        where = "weights in the cache" if there else "weights not here"
        yield Finding(f"encoder {terms.name}", "good" if there else "note", f"{terms.sentence}; {where}", remedy)


def self_test() -> Finding:
    """Write features, read them, embed them on the CPU and on the device there is, and through a file of weights."""
    began = time.monotonic()
    device = choose_device("auto")
    try:
        with tempfile.TemporaryDirectory() as folder:
            wrong = _computed_wrong(Path(folder), device)
    except (MirrorError, OSError, RuntimeError) as error:
        wrong = first_line(error)
    seconds = time.monotonic() - began
    if wrong is not None:
        return Finding(
            "self-test", "problem", wrong, "install the libraries anew in a fresh environment, then ask again"
        )
    return Finding("self-test", "good", f"features, model and weights agree on cpu and {device} ({seconds:.1f} s)")


def _computed_wrong(folder: Path, device: torch.device) -> str | None:
    tiles = np.random.default_rng(0).normal(size=(500, 64)).astype(np.float16).astype(np.float32)
    write_bag(folder / "slide.h5", tiles, facts=BagFacts(encoder="self-test"), order_seed=0)
    read = Bag(folder / "slide.h5").read()
    if not np.array_equal(np.sort(read, axis=0), np.sort(tiles, axis=0)):
        return "features that were written are read back as others"
    sizes = CanonicalSizes(
        tile_dim=64,
        genes=200,
        components=16,
        hidden=32,
        dropout=0.0,
        prototypes=8,
        mask_ratio=0.5,
        temperature=0.2,
        style_temperature=0.1,
        private=0.3,
        start="none",
    )
    model = build_canonical(sizes, generator=generator_for(0, "self-test")).eval()
    batch = torch.from_numpy(read)[None]
    with torch.inference_mode():
        expected = model.embed_slide(batch)
        save_weights(folder / "model.safetensors", model.state_dict(), sizes=sizes_record(model))
        again = built(load_weights(folder / "model.safetensors"), folder / "model.safetensors").embed_slide(batch)
        there = model.to(device).embed_slide(batch.to(device)).cpu()
    if not torch.equal(expected, again):
        return "weights that were written are read back as others"
    if not torch.allclose(expected, there, rtol=TOLERANCE, atol=TOLERANCE):
        return f"{device} computes something else than the CPU, by {float((expected - there).abs().max()):.2g}"
    return None


def problems(findings: Sequence[Finding]) -> list[Finding]:
    """Those that need a remedy before work begins."""
    return [finding for finding in findings if finding.state == "problem"]
