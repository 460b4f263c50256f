"""Count how dense the code is: conditional expressions, packed assignments, comments.

``python benchmarks/density.py`` counts each folder of the package;
``python benchmarks/density.py FILE ...`` each of these files;
``python benchmarks/density.py --list FILE ...`` also prints the places.
With ``--revision COMMIT`` the package is read from that commit of the repository.
"""

import argparse
import ast
import io
import subprocess
import tarfile
import tokenize
from collections import Counter
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "sklearn_provenance"
COLUMNS = ("conditional_per_1000_lines", "packed_percent", "comments_per_code_line")


def places(source):
    """List conditional expressions and packed assignments as (kind, line number).

    A packed assignment writes several values to several names at once, ``a, b = x, y``;
    unpacking one value, ``a, b = f()``, is not counted.
    """
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.IfExp):
            found.append(("conditional", node.lineno))
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple):
            targets = [target for target in node.targets if isinstance(target, ast.Tuple)]
            found.extend(("packed", node.lineno) for _ in targets)
    return sorted(found, key=lambda place: place[1])


def count(source):
    """Count lines, code lines, comment lines, assignments and the `places` of one file."""
    counts = Counter(kind for kind, _ in places(source))
    counts["lines"] = source.count("\n")
    counts["assignments"] = sum(
        isinstance(node, ast.Assign) for node in ast.walk(ast.parse(source))
    )
    code = set()
    silent = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    docstrings = {
        (node.value.lineno, node.value.col_offset)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            counts["comments"] += 1
        elif token.type not in silent and token.start not in docstrings:
            code.update(range(token.start[0], token.end[0] + 1))
    counts["code"] = len(code)
    return counts


def ratios(counts):
    """Divide the counts of a folder into the three columns."""
    return (
        1000 * counts["conditional"] / max(counts["lines"], 1),
        100 * counts["packed"] / max(counts["assignments"], 1),
        counts["comments"] / max(counts["code"], 1),
    )


def sources(paths, revision):
    """Yield (path from the root of the repository, text) of the files to count."""
    if revision is None:
        for path in paths or sorted((ROOT / PACKAGE).rglob("*.py")):
            path = Path(path).resolve()
            yield PurePosixPath(path.relative_to(ROOT)), path.read_text()
        return
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", revision, *(paths or [PACKAGE])],
        check=True,
        capture_output=True,
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for member in files:
            if member.name.endswith(".py"):
                yield PurePosixPath(member.name), files.extractfile(member).read().decode()


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("paths", nargs="*")
    parser.add_argument("--revision")
    parser.add_argument("--list", action="store_true", help="print the places too")
    arguments = parser.parse_args()
    totals = {}
    for path, source in sources(arguments.paths, arguments.revision):
        name = str(path) if arguments.paths else "/".join(path.parts[:2])
        if not arguments.paths and name.endswith(".py"):
            name = f"{PACKAGE}/*.py"
        for key in (name, "all"):
            totals.setdefault(key, Counter()).update(count(source))
        if arguments.list:
            for kind, line in places(source):
                print(f"{path}:{line}: {kind}")
    print(f"{'folder':<36} {'lines':>6} {COLUMNS[0]:>28} {COLUMNS[1]:>15} {COLUMNS[2]:>23}")
    for name, counts in sorted(totals.items()):
        conditional, packed, comments = ratios(counts)
        figures = f"{conditional:>28.1f} {packed:>15.1f} {comments:>23.3f}"
        print(f"{name:<36} {counts['lines']:>6} {figures}")


if __name__ == "__main__":
    main()
