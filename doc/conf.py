"""Sphinx configuration. The build needs no network."""

import os
import sys
import warnings
from pathlib import Path

# Examples are timed on one thread, and many threads slow small networks down.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import matplotlib

matplotlib.use("agg")

import sklearn_provenance

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from summarise import write_tables

write_tables(Path(__file__).parent / "_tables")

project = "sklearn_provenance"
author = "The sklearn_provenance developers"
copyright = "The sklearn_provenance developers"
version = release = sklearn_provenance.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "**/GALLERY_HEADER.rst", "auto_examples/**/*.ipynb"]
# Single backquotes are code in some docstrings and names in others.
default_role = "literal"
nitpicky = False

autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autoclass_content = "class"
# Methods have sections of their own in the class template.
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "pydata_sphinx_theme"
html_title = "sklearn_provenance"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {"getting_started": [], "whats_new": []}
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "show_prev_next": False,
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"plot_.*\.py$",
    "ignore_pattern": r"^(?!.*plot_).*\.py$",
    "within_subsection_order": "FileNameSortKey",
    "min_reported_time": 1,
    "show_memory": False,
    "show_signature": False,
    "download_all_examples": False,
    "remove_config_comments": True,
}

# The figures are saved by the gallery, not shown.
warnings.filterwarnings("ignore", message=".*agg.*cannot be shown.*", category=UserWarning)
