"""Sphinx configuration. The build needs no network."""

import os
import re
import sys
import warnings
from pathlib import Path

# Examples are timed on one thread, and many threads slow small networks down.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import matplotlib
from docutils import nodes

matplotlib.use("agg")

import sklearn_provenance

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "benchmarks")]
from recorded import read_outputs, with_outputs
from summarise import write_tables

write_tables(Path(__file__).parent / "_tables")

project = "sklearn_provenance"
author = "The sklearn_provenance developers"
copyright = "The sklearn_provenance developers"
version = release = sklearn_provenance.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx-mathjax-offline",  # formulas without a network: MathJax as a file of the site
    "sphinx_copybutton",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "**/GALLERY_HEADER.rst", "auto_examples/**/*.ipynb"]
# Single backquotes are code in some docstrings and names in others.
default_role = "literal"
nitpicky = False

autosummary_generate = True
autosummary_context = {"methods_of_str": dir(str)}
autodoc_typehints = "none"
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
autoclass_content = "class"
# Methods have sections of their own in the class template.
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

# Prompts and outputs are not copied.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = "sklearn_provenance"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sourcelink = False
html_copy_source = False
# These have no pages below them.
html_sidebars = {
    page: [] for page in ("benchmarks", "contributing", "getting_started", "whats_new")
}
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

# What docstrings inherited from scikit-learn refer to, in its documentation.
SKLEARN_PAGES = {
    "accuracy_score": "modules/model_evaluation.html#accuracy-score",
    "df_output_transform": "modules/df_output_transform.html",
    "meta-estimator": "glossary.html#term-meta-estimator",
    "metadata_routing": "metadata_routing.html",
    "r2_score": "modules/model_evaluation.html#r2-score",
    "sphx_glr_auto_examples_miscellaneous_plot_set_output.py": (
        "auto_examples/miscellaneous/plot_set_output.html"
    ),
}


def link_to_sklearn(app, env, node, content):
    """Resolve a label of scikit-learn's documentation."""
    page = SKLEARN_PAGES.get(node.get("reftarget"))
    if page is None:
        return None
    url = f"https://scikit-learn.org/stable/{page}"
    return nodes.reference("", content.astext(), refuri=url, internal=False)


# A link of the sidebar and the toggle behind it, to which the theme gives no name.
TOGGLE = re.compile(r"(<a [^>]*>([^<]*)</a><details[^>]*><summary)>")
# Docutils writes lists of citations with roles that screen readers have given up.
OF_CITATIONS = re.compile(r' role="(doc-biblioentry|list)"(?= class="citation-list"|>)')


def help_screen_readers(app, pagename, templatename, context, doctree):
    """Name the toggles of the sidebar; no roles for citations, no empty heads of columns."""
    generate = context["generate_toctree_html"]

    def generate_with_names(*args, **kwargs):
        return TOGGLE.sub(r'\1 aria-label="Pages of: \2">', str(generate(*args, **kwargs)))

    context["generate_toctree_html"] = generate_with_names
    if "body" in context:
        body = OF_CITATIONS.sub("", context["body"])
        context["body"] = body.replace("<th></th>", "<td></td>")  # pandas, above an index


def show_outputs(app, docname, source):
    """Show outputs of examples where their tests have dots."""
    source[0] = with_outputs(source[0], read_outputs().get(docname, {}))


def setup(app):
    app.connect("source-read", show_outputs)
    app.connect("missing-reference", link_to_sklearn)
    app.connect("html-page-context", help_screen_readers, priority=900)  # after the theme


sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"plot_.*\.py$",
    "ignore_pattern": r"^(?!.*plot_).*\.py$",
    "subsection_order": [
        f"../examples/{group}"
        for group in ("explain", "removal", "labels", "audit", "choose", "compare")
    ],
    "within_subsection_order": "FileNameSortKey",
    "min_reported_time": 1,
    "doc_module": ("sklearn_provenance",),
    "backreferences_dir": "api/generated/backreferences",
    "show_memory": False,
    "write_computation_times": False,
    "show_signature": False,
    "download_all_examples": False,
    "remove_config_comments": True,
}

# The figures are saved by the gallery, not shown.
warnings.filterwarnings("ignore", message=".*agg.*cannot be shown.*", category=UserWarning)
