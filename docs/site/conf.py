"""Sphinx: the pages that stage.py has put together."""

import os
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(pathlib.Path(__file__).parent))
# The module for plain Python, which make has built.
sys.path.insert(0, os.environ["ERLPY_PYTHON"])

project = "erlpy"
app_src = (ROOT / "src/erlpy.app.src").read_text(encoding="utf-8")
version = release = re.search(r'{vsn, "([^"]+)"}', app_src)[1]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "erlang_pages",
    "python_pages",
    "links",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext", ".xml": "erlang"}
myst_heading_anchors = 4
nitpicky = True
# Types of other packages in signatures: their pages cannot be reached from here.
nitpick_ignore_regex = [("py:.*", r"(?!erlang\.).*")]

autodoc_member_order = "bysource"
python_use_unqualified_type_names = True
python_stubs = str(ROOT / "python/erlang")
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"erlpy {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
# Quotes in docstrings are those of Python.
smartquotes = False
highlight_language = "text"
pygments_style = "friendly"
pygments_dark_style = "monokai"
