"""Look for the files of a data set, and say where they were sought."""

import os
from pathlib import Path

ENVIRONMENT_VARIABLE = "SKLEARN_PROVENANCE_DATA"
_PARTS = {"train": ("train",), "test": ("test",), "all": ("train", "test")}


def subset_parts(subset):
    """Return the official parts that make up a subset, in order."""
    if not isinstance(subset, str) or subset not in _PARTS:
        raise ValueError(f"subset must be one of 'train', 'test' or 'all', got {subset!r}")
    return _PARTS[subset]


def search_folders(data_home, subfolders, system_folders=()):
    """List the folders to look into, best first.

    If the user gives ``data_home``, there is no other place to look. Else the folder of the
    environment variable comes before the system's folders.
    """
    if data_home is not None:
        return _folders_below(data_home, subfolders)
    named = _folders_below(os.environ.get(ENVIRONMENT_VARIABLE), subfolders)
    return named + [Path(folder) for folder in system_folders]


def _folders_below(home, subfolders):
    if not home:
        return []
    home = Path(home).expanduser()
    return [*(home / subfolder for subfolder in subfolders), home]


def may_download(data_home):
    """Tell whether the user named no folder that the data must come from."""
    return data_home is None and not os.environ.get(ENVIRONMENT_VARIABLE)


def find_files(folders, formats):
    """Find the first folder that holds every file of one format.

    ``formats`` maps the name of a format to its files, each a tuple of alternative file names.
    Returns the format and the paths, or None.
    """
    for folder in folders:
        for name, files in formats.items():
            paths = [_first_file(folder, options) for options in files]
            if None not in paths:
                return name, paths
    return None


def _first_file(folder, options):
    for option in options:
        path = folder / option
        if path.is_file():
            return path
    return None


def not_found(title, folders, formats, advice, remark=None):
    """Build the FileNotFoundError that says what was sought, where, and what to do."""
    lines = [f"{title} was not found."]
    if not folders:
        lines.append("Looked in no folder, as none is named.")
    else:
        lines.append("Looked in:")
        for folder in folders:
            missing = "" if folder.is_dir() else " (no such folder)"
            lines.append(f"  - {folder}{missing}")
    if len(formats) > 1:
        lines.append("Wanted: all files of one line, in one folder:")
    else:
        lines.append("Wanted:")
    for name, files in formats.items():
        lines.append(f"  - {name}: " + ", ".join(" or ".join(options) for options in files))
    if remark is not None:
        lines.append(remark)
    lines.append(f"What to do: {advice}")
    lines.append(
        "That folder or its parent can be given as data_home or as the environment variable "
        f"{ENVIRONMENT_VARIABLE}."
    )
    return FileNotFoundError("\n".join(lines))
