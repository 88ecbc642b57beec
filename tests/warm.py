"""A process in which the heavy libraries are imported, and of which every command of a page is a fork.

Importing torch takes two seconds, and pages have a hundred commands. The scripts of `warm_scripts` hand their
arguments, folder, environment and standard streams to the warm process, wait, and end as their fork ended. What a
command does is all its own: it runs in a process of its own, which has imported what it would import anyway.
"""

import gc
import importlib
import json
import multiprocessing.spawn
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import tomllib
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PRELOADED = (
    *("incontext.segmenter", "incontext.cli", "megamed.cli", "benchmarks.cli"),
    *("incontext.folders.segment_folder", "incontext.folders.segmenter_options", "incontext.training.loop"),
    *("megamed.build", "megamed.propose", "benchmarks.run", "benchmarks.reports.page", "benchmarks.reports.terminal"),
    *("kornia", "matplotlib.pyplot", "nibabel", "nilearn.datasets", "pydicom", "scipy.ndimage", "tifffile"),
    "torch._dynamo",  # which any optimiser imports
)
STREAMS = 3

CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as warm:
    warm.connect({address!r})
    told = {{"target": {target!r}, "argv": sys.argv, "folder": os.getcwd(), "environment": dict(os.environ)}}
    socket.send_fds(warm, [b"+"], [0, 1, 2])
    warm.sendall(json.dumps(told).encode())
    warm.shutdown(socket.SHUT_WR)
    ended = warm.recv(16)
os._exit(int(ended or 1))
"""
"""A script that asks the warm process to run a target; it starts in a hundredth of a second."""


@contextmanager
def warm_scripts(repository: Path, folder: Path) -> Iterator[Path]:
    """Fill a folder with the project's console scripts, and with `python`, that run as forks of a warm process."""
    scripts = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["scripts"]
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as listener:
        address = f"{short}/warm"  # at most a hundred characters
        listener.bind(address)
        listener.listen()
        for name, target in {**scripts, "python": ""}.items():
            script = folder / name
            script.write_text(CLIENT.format(python=sys.executable, address=address, target=target))
            script.chmod(0o755)
        command = [sys.executable, "-m", "tests.warm", str(listener.fileno())]
        one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # torch reads it once, here and not in a fork
        server = subprocess.Popen(command, cwd=repository, env=one_thread, pass_fds=[listener.fileno()])
        try:
            yield folder
        finally:
            server.terminate()
            server.wait()


def serve(listener: socket.socket) -> None:
    """Run what the scripts ask for, each in a fork, for ever."""
    for name in PRELOADED:
        importlib.import_module(name)
    os.fsync = os.fstat  # nobody cuts the power, and disks are slow
    gc.freeze()  # no fork looks through it for garbage
    while True:
        asking, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _answer(asking)
        asking.close()
        _bury()


def _bury() -> None:
    """Collect the forks that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _answer(asking: socket.socket) -> None:
    """Become the process that a script stands for, and tell the script how it ended."""
    _, streams, *_ = socket.recv_fds(asking, 1, STREAMS)
    told = json.loads(b"".join(iter(lambda: asking.recv(2**16), b"")))
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode, closefd=False) for number, mode in enumerate("rww"))
    os.chdir(told["folder"])
    os.environ.clear()
    os.environ.update(told["environment"])
    multiprocessing.spawn.set_executable(sys.executable)
    sys.executable = str(Path(told["argv"][0]).parent / "python")
    sys.argv = told["argv"]
    code = _ended(told["target"])
    sys.stdout.flush()
    sys.stderr.flush()
    asking.sendall(str(code).encode())
    os._exit(code)


def _ended(target: str) -> int:
    """Run a target and return its exit code."""
    try:
        if target:
            module, function = target.split(":")
            getattr(importlib.import_module(module), function)()
        else:
            _interpret(sys.argv[1:])
    except SystemExit as ended:
        if isinstance(ended.code, str):
            sys.stderr.write(f"{ended.code}\n")
        return int(ended.code) if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # as the interpreter itself does
        traceback.print_exc()
        return 1
    return 0


def _interpret(words: list[str]) -> None:
    """Do what `python` does with these words: `[-W action] -c program`, or a script, and arguments."""
    if words[0] == "-W":
        warnings.simplefilter(words[1])  # type: ignore[arg-type]
        words = words[2:]
    if words[0] != "-c":
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")
        return
    sys.argv = ["-c", *words[2:]]
    sys.path.insert(0, "")
    main: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(words[1], "<string>", "exec"), main)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
