"""The version of the installed package, for rooms that must not import what `mirror` itself offers."""

from __future__ import annotations

from importlib.metadata import version

__version__ = version("mirror-pathology")
