"""What every test room shares: the real data beside the project, where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole jobs first: of files that are dealt out to several processes the longest must not come last."""
    items.sort(key=lambda item: item.path.parent.name != "workflow")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and recorded numbers beside the checkout; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("needs the data folder ../shared beside the checkout, which is not here")
    return SHARED
