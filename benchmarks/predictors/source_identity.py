"""Identity of a user's predictor by content: its module, the modules of its project, and the files that it declares."""

import ast
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from megamed.files import sha256_of

DECLARED = "weights_files"
"""Name under which a module or a predictor lists the files that its answers depend on."""
IMPORTERS = ("import_module", "__import__")
"""Functions that import the module that their first argument names."""
OURS = ("benchmarks", "incontext", "megamed")
"""Packages of this library, which belong to no user's project."""
_OUTSIDE = tuple(
    Path(folder).resolve()
    for folder in (
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *site.getsitepackages(),
        site.getusersitepackages(),
    )
)
"""Folders of Python's modules and of installed packages, which belong to no user's project either."""
_imported: dict[Path, str] = {}
"""SHA-256 of each source file when it was first asked for in this process, which runs that version until it ends."""


def identity_of(module: ModuleType, predictor: object) -> str:
    """Hash of everything of a user's that decides what a predictor answers, equal wherever it lies.

    It is the SHA-256 of the module's file alone if that imports nothing of its project and declares no files.

    Args:
        module: The imported module that holds the predictor.
        predictor: The predictor, which may list its files in `weights_files`, as may the module.

    Raises:
        ValueError: If a declared file is missing, or a source file was changed after this process imported it.
    """
    sources = project_sources(module)
    if changed := [path for name, path in sources.items() if not _as_imported(name, path)]:
        msg = (
            f"{changed[0]} was changed after it was imported: expected the version that this process runs, got "
            "another. Start Python, or the Dask workers, anew."
        )
        raise ValueError(msg)
    parts = {name: sha256_of(path) for name, path in sources.items()}
    parts |= {f"file {name}": sha256_of(path) for name, path in declared_files(module, predictor)}
    if len(parts) == 1:
        return next(iter(parts.values()))
    lines = (f"{name}\0{digest}\n" for name, digest in sorted(parts.items()))
    return sha256_of("".join(lines).encode()) if parts else module.__name__


def project_sources(module: ModuleType) -> dict[str, Path]:
    """Source files by module name: a module's own, and those of its project that it imports, itself or through others.

    Imports are read in the source, wherever they stand there, so that those in functions count before they are made.
    The project is the module's own package, and all else that is neither Python's, nor installed, nor of this library.
    """
    found: dict[str, Path] = {}
    own = module.__name__.partition(".")[0]
    waiting = _with_parents(module.__name__)
    while waiting:
        name = waiting.pop()
        spec = None if name in found else module.__spec__ if name == module.__name__ else _find(name)
        if spec is None or (path := _source(spec)) is None:
            continue
        top = name.partition(".")[0]
        if top != own and (top in OURS or any(path.is_relative_to(folder) for folder in _OUTSIDE)):
            continue
        found[name] = path
        if path.suffix == ".py":
            package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
            waiting += (each for told in _imports(path, package) for each in _with_parents(told))
    return found


def declared_files(module: ModuleType, predictor: object) -> Iterator[tuple[str, Path]]:
    """Yield the declared files with the names by which they count; a folder stands for all files in it.

    A relative path is looked up where the program was started, as `open` does, and then beside the module.

    Raises:
        ValueError: If a declared file does not exist.
    """
    beside = Path(getattr(module, "__file__", None) or ".").parent
    for told in dict.fromkeys((*_listed(module), *_listed(predictor))):
        place = next((path for path in (Path(told), beside / told) if path.exists()), None)
        if place is None:
            msg = (
                f"{DECLARED} of {module.__name__} names no file: expected one in the working directory or in {beside}, "
                f"got {told!r}. Correct the path."
            )
            raise ValueError(msg)
        inside = sorted(path for path in place.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        files = inside if place.is_dir() else [place]
        yield from ((f"{Path(told).name}/{path.relative_to(place)}", path) for path in files)


def _listed(holder: object) -> Iterable[str]:
    told = getattr(holder, DECLARED, ())
    return [str(told)] if isinstance(told, str | Path) else [str(each) for each in told]


def _as_imported(name: str, path: Path) -> bool:
    """Whether this process runs what a module's file holds now, as far as it has seen the file before."""
    digest = sha256_of(path)
    if name not in sys.modules:
        _imported[path] = digest
    return _imported.setdefault(path, digest) == digest


def _imports(path: Path, package: str) -> Iterator[str]:
    """Absolute names of what a source file imports; of `from a import b` both a and a.b, whichever are modules."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError):  # a module that a predictor cannot import either
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join(filter(None, (*above, node.module)))
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if function in IMPORTERS and isinstance(told := node.args[0].value, str):
                yield f"{package}{told}" if told.startswith(".") else told


def _with_parents(name: str) -> list[str]:
    """A module's name and those of the packages around it, which Python imports first."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _find(name: str) -> ModuleSpec | None:
    """Find a module without importing anything; None if it does not exist, as where an import is optional."""
    top, *rest = name.split(".")
    try:
        spec = find_spec(top)
    except (ValueError, ImportError):
        return None
    for depth in range(len(rest)):
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(".".join((top, *rest[: depth + 1])), spec.submodule_search_locations)
    return spec


def _source(spec: ModuleSpec) -> Path | None:
    """File that holds a module: source, a compiled extension or a zip file; None for a namespace or built-in module."""
    path = Path(spec.origin or "").resolve()
    return next((each for each in (path, *path.parents) if each.is_file()), None) if spec.has_location else None
