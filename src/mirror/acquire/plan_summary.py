"""What a plan comes to: files, bytes, patients, the time at the measured speed."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from mirror.acquire.client import Client
from mirror.acquire.lock import Lock
from mirror.acquire.remote import RemoteFile, Source
from mirror.acquire.settings import Part, TransferConfig
from mirror.ids import TcgaBarcode


class PartSize(NamedTuple):
    """One part of a plan; `unsized` of its files have a size that the source does not tell."""

    part: Part
    files: int
    bytes: int
    unsized: int


class Speed(NamedTuple):
    """One connection to a source: bytes a second, and seconds until the first of them."""

    rate: float
    latency: float


class PartPlan(NamedTuple):
    """One part of a plan: where it comes from, what it is, and the seconds it takes at the measured speed."""

    part: Part
    source: Source
    files: int
    bytes: int
    unsized: int
    seconds: float


class PlanSummary(NamedTuple):
    """A plan in numbers. `releases` and `bytes_a_second` (of one connection) by source; patients counted by what they
    have; `unpinned` files have no checksum until they are first fetched."""

    parts: tuple[PartPlan, ...]
    files: int
    bytes: int
    seconds: float
    releases: Mapping[Source, str]
    bytes_a_second: Mapping[Source, float]
    patients: int
    with_slide: int
    with_expression: int
    with_both: int
    unpinned: int


def with_slide(lock: Lock) -> set[str]:
    """The patients who have a diagnostic slide."""
    return set(lock.slides.values())


def with_expression(lock: Lock) -> set[str]:
    """The patients who have the expression of a tumour; samples that are no TCGA barcodes count as tumours."""
    barcodes = {sample: TcgaBarcode.of(sample) for sample in lock.samples}
    return {lock.samples[sample] for sample, one in barcodes.items() if one is None or one.is_tumour}


def part_sizes(lock: Lock) -> list[PartSize]:
    """A row a part, in the order of fetching."""
    rows: dict[Part, list[RemoteFile]] = defaultdict(list)
    for file in lock.files:
        rows[file.part].append(file)
    return [
        PartSize(part, len(files), sum(file.size or 0 for file in files), sum(file.size is None for file in files))
        for part, files in rows.items()
    ]


def summarise(lock: Lock, client: Client, transfer: TransferConfig) -> PlanSummary:
    """What a plan comes to, at the speed of its sources that is measured for it."""
    speeds = measure(lock, client, probe=transfer.probe)

    def took(files: Iterable[RemoteFile]) -> float:
        return seconds(files, speeds, workers=transfer.workers, bandwidth=transfer.bandwidth)

    parts: list[PartPlan] = []
    for row in part_sizes(lock):
        files = lock.of_part(row.part)
        parts.append(PartPlan(row.part, files[0].source, row.files, row.bytes, row.unsized, took(files)))
    slides, expression = with_slide(lock), with_expression(lock)
    return PlanSummary(
        tuple(parts),
        files=len(lock.files),
        bytes=sum(row.bytes for row in parts),
        seconds=took(lock.files),
        releases=lock.releases,
        bytes_a_second={source: speed.rate for source, speed in speeds.items()},
        patients=len(lock.patients),
        with_slide=len(slides),
        with_expression=len(expression),
        with_both=len(slides & expression),
        unpinned=sum(file.checksum is None for file in lock.files),
    )


def measure(lock: Lock, client: Client, *, probe: float) -> dict[Source, Speed]:
    """The speed of each source, from the first `probe` MB of its largest file that is not controlled."""
    speeds: dict[Source, Speed] = {}
    for file in sorted(lock.files, key=lambda file: -(file.size or 0)):
        if file.source in speeds or file.controlled:
            continue
        speeds[file.source] = client.patiently(lambda file=file: _measured(file, client, int(probe * 1e6)))
    return speeds


def _measured(file: RemoteFile, client: Client, most: int) -> Speed:
    began = time.monotonic()
    with client.get(file.url, headers={"Range": f"bytes=0-{most - 1}"}) as response:
        first = time.monotonic()
        came = 0
        while came < most and (piece := response.read(64 << 10)):
            came += len(piece)
    return Speed(came / max(time.monotonic() - first, 1e-3), first - began)


def seconds(
    files: Iterable[RemoteFile], speeds: dict[Source, Speed], *, workers: int, bandwidth: float | None
) -> float:
    """How long it takes: the bytes at the speed of one connection (or the limit of `bandwidth`, MB a second), and the
    waits for first bytes, of which `workers` pass at a time."""
    total = 0.0
    for file in files:
        speed = speeds.get(file.source)
        if speed is not None:
            rate = speed.rate if bandwidth is None else min(speed.rate, bandwidth * 1e6)
            total += (file.size or 0) / rate + speed.latency / workers
    return total
