"""Where the files of a data set are looked for, and what is said when they are not there."""

import os
from pathlib import Path

ENVIRONMENT_VARIABLE = "SKLEARN_PROVENANCE_DATA"
SUBSETS = ("train", "test", "all")


def subset_parts(subset):
    """Return the official parts that make up a subset, in order."""
    if subset not in SUBSETS:
        raise ValueError(f"subset must be one of 'train', 'test' or 'all', got {subset!r}.")
    return ("train", "test") if subset == "all" else (subset,)


def search_folders(data_home, subfolders, system_folders=()):
    """List the folders to look into, best first.

    A ``data_home`` given by the user is the only place to look; the environment variable comes
    before the system's folders.
    """
    named = data_home if data_home is not None else os.environ.get(ENVIRONMENT_VARIABLE)
    below = []
    if named:
        home = Path(named).expanduser()
        below = [home / subfolder for subfolder in subfolders] + [home]
    if data_home is not None:
        return below
    return below + [Path(folder) for folder in system_folders]


def may_download(data_home):
    """Tell whether the user left it open where the data come from."""
    return data_home is None and not os.environ.get(ENVIRONMENT_VARIABLE)


def find_files(folders, formats):
    """Find the first folder that holds every file of one format.

    ``formats`` maps the name of a format to its files, each a tuple of alternative file names.
    Returns the format and the paths, or None.
    """
    for folder in folders:
        for name, files in formats.items():
            paths = [
                next((folder / option for option in options if (folder / option).is_file()), None)
                for options in files
            ]
            if None not in paths:
                return name, paths
    return None


def not_found(title, folders, formats, advice, remark=""):
    """Build the FileNotFoundError that says what was sought, where, and what to do."""
    wanted = [
        f"{name}: " + ", ".join(" or ".join(options) for options in files)
        for name, files in formats.items()
    ]
    lines = [
        f"{title} was not found.",
        "Looked in:" if folders else "Looked in no folder, as none is named.",
        *(f"  - {folder}{'' if folder.is_dir() else ' (no such folder)'}" for folder in folders),
        "Wanted: all files of one line, in one folder:" if len(wanted) > 1 else "Wanted:",
        *(f"  - {line}" for line in wanted),
        *([remark] if remark else []),
        f"What to do: {advice}",
        "That folder or its parent can be given as data_home or as the environment variable "
        f"{ENVIRONMENT_VARIABLE}.",
    ]
    return FileNotFoundError("\n".join(lines))
