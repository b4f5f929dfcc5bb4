"""Feature files as other tools leave them, written byte for byte after their layouts."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch
import zarr

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(30, 8)).astype(np.float16).astype(np.float32)
GRID = np.stack(np.unravel_index(np.arange(30), (6, 5)), axis=1)[:, ::-1].astype(np.int64)
COORDS = GRID * 1024 + 37
"""Top left corners in level-0 pixels of tiles that are 1,024 px wide there."""

LAZYSLIDE = Path(__file__).with_name("lazyslide_0_13.zip")
"""Written by LazySlide 0.13.0 and wsidata 0.12.0: `find_tissues`, `tile_tissues`, `add_features`, `write`."""


def trident(job: Path, slide: str = "S1", *, encoder: str | None = "uni_v1", folder: str = "features_uni_v1") -> Path:
    """A job folder: positions, tile features and a slide vector."""
    attributes = {
        "patch_size": 512,
        "patch_size_level0": 1024.0,
        "level0_magnification": 40,
        "target_magnification": 20.0,
        "overlap": 0,
        "name": slide,
        "savetodir": str(job),
        "level0_width": 50_000,
        "level0_height": 40_000,
    }
    run = job / "20.0x_512px_0px_overlap"
    for place in ("patches", folder, "slide_features_titan"):
        (run / place).mkdir(parents=True, exist_ok=True)
    with h5py.File(run / "patches" / f"{slide}_patches.h5", "w") as file:
        file.create_dataset("coords", data=COORDS, chunks=(1, 2)).attrs.update(attributes)
    features = run / folder / f"{slide}.h5"
    for path, values in ((features, FEATURES), (run / "slide_features_titan" / f"{slide}.h5", FEATURES[0])):
        with h5py.File(path, "w") as file:
            dataset = file.create_dataset("features", data=values, chunks=(1, 8) if values.ndim == 2 else None)
            dataset.attrs.update({"name": slide, "savetodir": str(job)})
            if encoder is not None:
                dataset.attrs["encoder"] = encoder
            file.create_dataset("coords", data=COORDS, chunks=(1, 2)).attrs.update(attributes)
    return features


def clam(job: Path, slide: str = "S1", *, patches: bool = True, patch_px: int = 256) -> Path:
    """h5_files and pt_files of a slide, and its patches file."""
    for place in ("patches", "h5_files", "pt_files"):
        (job / place).mkdir(parents=True, exist_ok=True)
    if patches:
        with h5py.File(job / "patches" / f"{slide}.h5", "w") as file:
            file.create_dataset("coords", data=COORDS).attrs.update(
                {
                    "patch_size": patch_px,
                    "patch_level": 1,
                    "downsample": np.full(2, 1024.0 / patch_px),
                    "downsampled_level_dim": np.array([12_500, 10_000]),
                    "level_dim": np.array([12_500, 10_000]),
                    "name": slide,
                    "save_path": str(job),
                }
            )
    with h5py.File(job / "h5_files" / f"{slide}.h5", "w") as file:
        file.create_dataset("features", data=FEATURES, chunks=(30, 8), maxshape=(None, 8))
        file.create_dataset("coords", data=COORDS.astype(np.int32), chunks=(30, 2), maxshape=(None, 2))
    torch.save(torch.from_numpy(FEATURES), job / "pt_files" / f"{slide}.pt")
    return job / "h5_files" / f"{slide}.h5"


def stamp(folder: Path, slide: str = "S1", *, mpp: float = 0.25, version: str = "2.3.0") -> Path:
    """Micrometres, rows in the order in which tiles were done; version "2.0" has `tile_size`, "1" no attribute."""
    order = RNG.permutation(30)
    attributes = {
        "1": {},
        "2.0": {"extractor": "uni2", "unit": "um", "tile_size": 256.0},
        "2.3.0": {
            "stamp_version": "2.3.0",
            "extractor": "uni2",
            "unit": "um",
            "tile_size_um": 256.0,
            "tile_size_px": 224,
            "code_hash": "0123abcd",
            "feat_type": "tile",
        },
    }[version]
    places = GRID * 224 if version == "1" else COORDS * mpp
    path = folder / "uni2-0123abcd" / "batch1" / f"{slide}.h5"
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["feats"] = FEATURES[order].astype(np.float16)
        file["coords"] = places[order].astype(np.float32)
        file.attrs.update(attributes)
    return path


def lazyslide(folder: Path) -> Path:
    """A store written by the tool itself, and the features it was given as x.npy beside it."""
    with zipfile.ZipFile(LAZYSLIDE) as archive:
        archive.extractall(folder)
    return folder / "s.zarr"


def uni2h(folder: Path) -> Path:
    path = folder / "S1.h5"
    with h5py.File(path, "w") as file:
        file["features"] = FEATURES[None]
        file["coords"] = COORDS[None]
    return path


def atlaspatch(folder: Path, encoders: tuple[str, ...] = ("uni_v2",)) -> Path:
    path = folder / "S1.h5"
    with h5py.File(path, "w") as file:
        file["coords"] = np.column_stack([COORDS, np.tile([512, 512, 1], (30, 1))]).astype(np.int32)
        file.attrs.update({"patch_size": 512, "patch_size_level0": 1024})
        for number, encoder in enumerate(encoders):
            file[f"features/{encoder}"] = FEATURES + number
        file["slide_features/titan"] = FEATURES[0]
    return path


def slide2vec(folder: Path, ending: str = "pt") -> Path:
    for place in ("tile_embeddings", "tiles"):
        (folder / place).mkdir()
    path = folder / "tile_embeddings" / f"S1.{ending}"
    torch.save(torch.from_numpy(FEATURES), path) if ending == "pt" else np.savez(path, features=FEATURES)
    meta = {"encoder_name": "virchow2", "tile_size_lv0": 1024, "requested_tile_size_px": 224}
    path.with_name("S1.meta.json").write_text(json.dumps({**meta, "requested_spacing_um": 0.5}))
    np.savez(
        folder / "tiles" / "S1.coordinates.npz",
        x=COORDS[:, 0],
        y=COORDS[:, 1],
        tile_index=np.arange(30, dtype=np.int32),
    )
    return path


def slideflow(folder: Path, index: str = "npz") -> Path:
    """Positions of the tiles' centres; `index` "npy" is how it writes them where archives are not allowed."""
    torch.save(torch.from_numpy(FEATURES), folder / "S1.pt")
    if index == "npz":
        np.savez(folder / "S1.index.npz", arr_0=COORDS + 512)
    else:
        np.save(folder / "S1.index.npy", COORDS + 512)
    extractor = {"class": "slideflow.model.extractors.retccl.RetCCLFeatures", "kwargs": {"center_crop": True}}
    (folder / "bags_config.json").write_text(json.dumps({"extractor": extractor, "tile_px": 256, "tile_um": 128}))
    return folder / "S1.pt"


def tiatoolbox(folder: Path, key: str = "probabilities") -> Path:
    """2.0 calls the features probabilities, 2.1 features."""
    group = zarr.open_group(folder / "S1.zarr", mode="w", zarr_format=2)
    for name, values in ((key, FEATURES), ("coordinates", np.hstack([COORDS, COORDS + 1024]))):
        group.create_array(name, data=values)
    return folder / "S1.zarr"


def owkin(folder: Path, *, metadata: bool = True) -> Path:
    path = folder / "S1.svs" / "features.npy"
    path.parent.mkdir(parents=True)
    np.save(path, np.hstack([np.full((30, 1), 16.0), GRID, FEATURES]).astype(np.float32))
    if metadata:
        about = {"features_extractor": "phikon", "level": 16, "tile_size": 224, "absolute_tile_size": 448}
        text = json.dumps({**about, "slide_size": [50_000, 40_000], "tile_mpp": 0.5})
        path.with_name("metadata.json").write_text(text)
    return path


def eva(folder: Path) -> Path:
    """A list of vectors a slide, under the folders that the slide's name came with, and one manifest above them."""
    (folder / "slides").mkdir()
    torch.save(list(torch.from_numpy(FEATURES)), folder / "slides" / "S1.pt")
    table = {"origin": ["slides/S1.svs"], "embeddings": ["slides/S1.pt"], "target": [0], "split": ["train"]}
    pd.DataFrame({**table, "wsi_id": ["S1"]}).to_csv(folder / "manifest.csv", index=False)
    return folder / "slides" / "S1.pt"


def tangle(folder: Path) -> Path:
    for place in ("uni_features", "rna"):
        (folder / place).mkdir()
    torch.save(torch.from_numpy(FEATURES), folder / "uni_features" / "S1.pt")
    torch.save(torch.zeros(100), folder / "rna" / "S1.pt")
    return folder / "uni_features" / "S1.pt"


def wsi_toolbox(folder: Path) -> Path:
    with h5py.File(folder / "S1.h5", "w") as file:
        file["patches"] = np.zeros((30, 2, 2, 3), dtype=np.uint8)
        file["coordinates"] = COORDS
        file["gigapath/features"] = FEATURES
        file["gigapath/features"].attrs["writing"] = False
        file["gigapath/latent_features"] = np.zeros((30, 4, 8), dtype=np.float16)
        file["gigapath/default/clusters"] = np.zeros(30, dtype=np.int32)
        about = {"original_mpp": 0.25, "mpp": 0.5, "scale": 2, "patch_size": 256, "patch_count": 30, "image_level": 0}
        for name, value in about.items():
            file[f"metadata/{name}"] = value
            file.attrs[name] = value
    return folder / "S1.h5"


def kronos(folder: Path) -> Path:
    with h5py.File(folder / "S1.h5", "w") as file:
        file["patch_embeddings"] = FEATURES
        file["coords"] = COORDS
    return folder / "S1.h5"


def bare(folder: Path, ending: str) -> Path:
    path = folder / f"S1.{ending}"
    if ending == "pt":
        torch.save(torch.from_numpy(FEATURES), path)
    else:
        np.save(path, FEATURES) if ending == "npy" else np.savez(path, FEATURES)
    return path
