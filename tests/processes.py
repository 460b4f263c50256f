"""Processes of their own for tests, forked from one that has imported what takes long to import."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
# A process of its own may be told apart from a new interpreter by what is imported: the package
# with what it imports by itself, and no more.
_TEMPLATE = """
import json, os, signal, sys, types
import sklearn_provenance
print("ready", flush=True)
while line := sys.stdin.readline():
    request = json.loads(line)
    child = os.fork()
    if child == 0:
        break
    status = os.waitpid(child, 0)[1]
    print(os.waitstatus_to_exitcode(status), flush=True)
else:
    sys.exit()
signal.alarm(request["timeout"])
for number, name in enumerate((os.devnull, request["stdout"], request["stderr"])):
    file = os.open(name, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT)
    os.dup2(file, number)
    os.close(file)
os.chdir(request["cwd"])
sys.argv = ["-c", *request["arguments"]]
sys.modules["__main__"] = types.ModuleType("__main__")
exec(compile(request["code"], "<string>", "exec"), vars(sys.modules["__main__"]))
"""


class Template:
    """A process that has imported the package, and forks another for each code that it runs.

    Importing torch and scikit-learn takes seconds, which each new interpreter would take again.
    """

    def __init__(self):
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        settings = {"MPLBACKEND": "agg", "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error::FutureWarning", "-c", _TEMPLATE],
            env=os.environ | settings | {"PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        started = self._process.stdout.readline()
        self._errors.seek(0)
        self._said = self._errors.read()
        assert started == "ready\n", self._said

    def run(self, code, *arguments, cwd=ROOT, timeout=600):
        """Run code as ``python -c`` would, after that many seconds not any longer.

        What importing the package wrote to stderr comes first in ``stderr``.
        """
        with tempfile.TemporaryDirectory() as folder:
            outputs = {name: os.path.join(folder, name) for name in ("stdout", "stderr")}
            request = {"code": code, "arguments": [*map(str, arguments)], "cwd": str(cwd)}
            request |= outputs | {"timeout": timeout}
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            status = int(self._process.stdout.readline())
            stdout, stderr = (Path(path).read_text() for path in outputs.values())
        return subprocess.CompletedProcess(code, status, stdout, self._said + stderr)

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()
