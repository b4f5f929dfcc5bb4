"""Sphinx, as `docs/build_site.py` calls it on a copy of the pages: no network, warnings are errors."""

from __future__ import annotations

from importlib.metadata import version as version_of

project = "MIRROR"
author = "The MIRROR authors"
release = version = version_of("mirror-pathology")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

default_role = "code"
autodoc_typehints = "none"
autodoc_member_order = "bysource"
add_module_names = False
nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]  # annotations of other libraries, whose pages are not at hand

html_theme = "furo"
html_title = f"MIRROR {version}"
html_show_sourcelink = False
html_copy_source = False
templates_path: list[str] = []
