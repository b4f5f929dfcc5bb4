"""MIRROR: one representation of histopathology slides and gene expression, learned without labels.

Importing this package is cheap: torch and the other heavy libraries load with the room that needs them.
"""

from importlib.metadata import version

__version__ = version("mirror-pathology")
