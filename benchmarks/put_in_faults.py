"""Put small faults into the package, one at a time, and see whether the tests notice.

    python benchmarks/put_in_faults.py                     all faults of faults.toml
    python benchmarks/put_in_faults.py --only information  those of files with a word in their path
    python benchmarks/put_in_faults.py --check             only whether the texts are still there
    python benchmarks/put_in_faults.py --jobs 2 --output a.csv

A fault is a file, a text that stands in it once, and the text that replaces it. It is put into a
temporary copy of the working tree. Tests run there until one fails: first those that the fault
names, then the folder that belongs to its file. Those that failed run once more in the end without
faults, and must pass. A fault that nothing sees is a gap of the tests, or a change that changes
nothing: then it leaves the list. The exit status is 1 if a fault was not seen or its text has gone.
"""

import argparse
import csv
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

# Every run of tests is a fork of a process that has imported what takes long, in one thread each.
os.environ["OMP_NUM_THREADS"] = "1"
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["hypothesis", "matplotlib.pyplot", "pandas", "pytest", "sklearn.ensemble"]
    + ["sklearn.neural_network", "sklearn.svm", "sklearn.utils.estimator_checks", "skorch", "torch"]
)
ROOT = Path(__file__).parents[1]
PACKAGE = "sklearn_provenance"
COLUMNS = ("file", "old", "new", "outcome", "test", "seconds")


@dataclass(frozen=True)
class Fault:
    """A replacement of text, and where its tests are looked for first."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ()

    def __str__(self):
        old, new = (" ".join(text.split()) for text in (self.old, self.new))
        return f"{self.file}: {old} -> {new}"


def read_faults(path):
    """Faults of a TOML file."""
    with path.open("rb") as file:
        entries = tomllib.load(file)["fault"]
    return [Fault(**entry | {"tests": tuple(entry.get("tests", ()))}) for entry in entries]


def with_fault(source, fault):
    """Source text with the fault in it.

    Raises
    ------
    ValueError
        If the fault's text does not stand in it exactly once.
    """
    count = source.count(fault.old)
    if count != 1:
        raise ValueError(f"its text must stand in the file once; it does {count} times")
    return source.replace(fault.old, fault.new)


def tests_of_room(file, root):
    """Tests and doctests that belong to a file of the package."""
    room = Path(file).parts[1]
    if room.endswith(".py"):
        return ["tests/" + path.name for path in sorted((root / "tests").glob("test_*.py"))]
    folder = Path("tests") / room.strip("_")
    if (root / folder).is_dir():
        tests = [str(folder)]
    else:
        tests = [f"tests/{path.name}" for path in sorted((root / "tests").glob(f"test_{room}*.py"))]
    return [*tests, f"{PACKAGE}/{room}"]


class Tree:
    """A temporary copy of the files that git knows, or would know, with one fault at a time."""

    def __init__(self, path):
        self.path = path
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
        )
        for name in filter(None, listed.stdout.split("\0")):
            source, target = ROOT / name, path / name
            if source.is_file():  # one that was deleted is still listed
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)

    def write(self, file, text):
        path = self.path / file
        path.write_text(text)
        # Python tells compiled files by size and second: too little for edits this quick.
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink()

    def run(self, tests, timeout, first=True):
        """Exit status of pytest, None after the timeout, and the tests that failed.

        ``first`` stops at the first of them.
        """
        output = self.path / "put_in_faults.txt"
        process = PROCESSES.Process(target=run_pytest, args=(self.path, output, tests, first))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            os.killpg(process.pid, signal.SIGKILL)  # with what the tests started
            process.join()
            return None, []
        failed = re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", output.read_text(), re.MULTILINE)
        return process.exitcode, failed


def run_pytest(tree, output, tests, first):
    """Run tests of a tree in this process, a fork of one that has imported all but the package."""
    os.setsid()
    with open(output, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(tree)
    os.environ["PYTHONPATH"] = str(tree)
    sys.path.insert(0, str(tree))
    import pytest

    options = ["-q", "-p", "no:cacheprovider", *(["-x"] if first else [])]
    sys.exit(int(pytest.main([*options, *tests])))


def judge(tree, fault, timeout, named=False):
    """What became of a fault, and the test that saw it or ''.

    ``named`` runs only the tests that the fault names.
    """
    source = (tree.path / fault.file).read_text()
    try:
        changed = with_fault(source, fault)
    except ValueError as error:
        return f"gone: {error}", ""
    room = [] if named else tests_of_room(fault.file, tree.path)
    try:
        tree.write(fault.file, changed)
        for tests in filter(None, (fault.tests, room)):
            status, failed = tree.run(tests, timeout)
            if status is None:
                return "seen: tests do not end", ""
            if failed:
                return "seen", failed[0]
            if status != 0:
                return f"no tests ran: pytest ended with {status}", ""
        return "NOT SEEN", ""
    finally:
        tree.write(fault.file, source)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--faults", type=Path, default=Path(__file__).with_name("faults.toml"))
    parser.add_argument("--only", nargs="*", default=[], help="parts of a file's path")
    parser.add_argument("--named", action="store_true", help="not the folders of the files")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=900, help="seconds for one run of tests")
    parser.add_argument("--output", type=Path, help="CSV file")
    parser.add_argument("--check", action="store_true", help="run nothing")
    arguments = parser.parse_args()

    faults = read_faults(arguments.faults)
    if arguments.only:
        faults = [f for f in faults if any(word in f.file for word in arguments.only)]
    rows = check(faults) if arguments.check else run(faults, arguments)
    if arguments.output:
        with arguments.output.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(rows)
    done = [row for row in rows if row[3].startswith("there" if arguments.check else "seen")]
    print(f"{len(done)} of {len(rows)} {'are there' if arguments.check else 'were seen'}")
    sys.exit(len(done) < len(rows))


def check(faults):
    """A row for each fault, by whether its text is in its file."""
    rows = []
    for fault in faults:
        try:
            with_fault((ROOT / fault.file).read_text(), fault)
            outcome = "there"
        except (OSError, ValueError) as error:
            outcome = f"gone: {error}"
            print(f"{fault}\n    {outcome}")
        rows.append((fault.file, fault.old, fault.new, outcome, "", 0))
    return rows


def run(faults, arguments):
    """A row for each fault, by what the tests made of it."""
    rows = {}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(arguments.jobs) as pool:
        trees = SimpleQueue()
        for number in range(arguments.jobs):
            trees.put(Tree(Path(folder) / str(number)))

        def work(fault):
            tree = trees.get()
            start = time.monotonic()
            try:
                outcome, test = judge(tree, fault, arguments.timeout, arguments.named)
            finally:
                trees.put(tree)
            return fault.file, fault.old, fault.new, outcome, test, round(time.monotonic() - start)

        tasks = {pool.submit(work, fault): fault for fault in faults}
        for task in as_completed(tasks):
            fault, row = tasks[task], task.result()
            rows[fault] = row
            print(f"{len(rows)}/{len(faults)}  {row[3]}  {row[5]} s  {fault}  {row[4]}", flush=True)
        # A test that fails anyway sees nothing.
        witnesses = sorted({row[4] for row in rows.values() if row[4]})
        broken = trees.get().run(witnesses, None, first=False)[1] if witnesses else []
    for fault, (file, old, new, _, test, seconds) in rows.items():
        if test in broken:
            rows[fault] = file, old, new, "NOT SEEN: fails without the fault", test, seconds
            print(f"{rows[fault][3]}  {fault}  {test}")
    return [rows[fault] for fault in faults]


if __name__ == "__main__":
    main()
