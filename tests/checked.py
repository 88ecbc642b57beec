"""The run-time check of annotations: shapes where they are annotated, and types alone everywhere else.

Beartype checks each value once, where jaxtyping would bind the arguments of every call to its signature, and check them
before and after it. What jaxtyping adds is a scope for the axes of one call, which nine in ten functions do without.
"""

import dataclasses
import functools
import inspect
import itertools
import threading
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType
from typing import Any, Self

import jaxtyping
from beartype import BeartypeConf, FrozenDict, beartype

CONF = BeartypeConf(
    hint_overrides=FrozenDict({Self: Any}),  # methods are decorated one by one, and do not know their class
    violation_type=jaxtyping.TypeCheckError,
)
TYPECHECKER = f"{__name__}.beartyped"

with_shapes = jaxtyping.jaxtyped
axes_of_a_call = with_shapes("context")


def check_packages(packages: list[str]) -> None:
    """Check every function and dataclass of packages that are imported from now on."""
    jaxtyping.jaxtyped = checked  # type: ignore[assignment] # what the hook decorates with
    jaxtyping.install_import_hook(packages, TYPECHECKER)


@contextmanager
def unchecked() -> Iterator[None]:
    """Check nothing meanwhile, so that what is called can be traced: a check cannot."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def beartyped(function: Callable) -> Callable:
    """Let beartype check each call of a function."""
    return beartype(function, conf=CONF)


def checked(decorated: Any = None, *, typechecker: Callable[[Callable], Callable]) -> Any:
    """Check calls of a function, or the fields of a dataclass, as `jaxtyping.jaxtyped` does."""
    if decorated is None:
        return functools.partial(checked, typechecker=typechecker)
    if inspect.isclass(decorated):
        if dataclasses.is_dataclass(decorated) and "__init__" in vars(decorated):
            decorated.__init__ = checked(decorated.__init__, typechecker=typechecker)  # type: ignore[misc]
        return decorated
    if not inspect.isfunction(decorated):
        return with_shapes(decorated, typechecker=typechecker)
    return _checked_once_called(decorated, typechecker)


def _checked_once_called(function: Callable, typechecker: Callable[[Callable], Callable]) -> Callable:
    """Make the check at the first call: it takes milliseconds to make, and of thousands of functions few are called."""
    strict: Callable | None = None

    @functools.wraps(function)
    def either(*args: Any, **kwargs: Any) -> Any:
        nonlocal strict
        if jaxtyping.config.jaxtyping_disable:
            return function(*args, **kwargs)
        if strict is None:
            strict = _strict(function, typechecker)
        return strict(*args, **kwargs)

    return either


def _strict(function: Callable, typechecker: Callable[[Callable], Callable]) -> Callable:
    hints = {name: _resolved(hint, function) for name, hint in function.__annotations__.items()}
    shaped = any(map(_tells_a_shape, hints.values()))
    computed = any("{" in repr(hint) for hint in hints.values())  # a length, of arguments
    if computed or (shaped and inspect.isgeneratorfunction(function)):
        return with_shapes(function, typechecker=typechecker)
    function.__annotations__ = hints
    if "<locals>" not in function.__qualname__:
        return _of_hints(function, typechecker)
    inner = _INNER.get(function.__code__)
    if inner is None or inner.hints != [*map(_comparable, hints.values())]:
        inner = _INNER[function.__code__] = _InnerFunctions(function, typechecker)
    return functools.partial(inner, function)


def _of_hints(function: Callable, typechecker: Callable[[Callable], Callable]) -> Callable:
    each = typechecker(function)
    return _binding_axes(each) if any(map(_tells_a_shape, function.__annotations__.values())) else each


class _InnerFunctions:
    """One check for all functions that the same lines define, anew whenever the function around them is called.

    Attributes:
        hints: What they are annotated with, comparable.
    """

    def __init__(self, first: Callable, typechecker: Callable[[Callable], Callable]) -> None:
        self.hints = [*map(_comparable, first.__annotations__.values())]
        self._called = threading.local()

        @functools.wraps(first)
        def called(*args: Any, **kwargs: Any) -> Any:
            return self._called.function(*args, **kwargs)

        self._checked = _of_hints(called, typechecker)

    def __call__(self, function: Callable, /, *args: Any, **kwargs: Any) -> Any:
        self._called.function = function
        return self._checked(*args, **kwargs)


_INNER: dict[CodeType, _InnerFunctions] = {}


def _comparable(hint: Any) -> Any:
    """A hint that equals those which mean the same; two of one shape are not equal by themselves."""
    if isinstance(hint, list):
        return [*map(_comparable, hint)]
    if inspect.isclass(hint):
        shaped = issubclass(hint, jaxtyping.AbstractArray)
        return (hint.array_type, hint.dtypes, hint.dim_str) if shaped else hint  # type: ignore[attr-defined]
    within = typing.get_args(hint)
    return (typing.get_origin(hint), *map(_comparable, within)) if within else hint


def _binding_axes(function: Callable) -> Callable:
    """Let an axis have one length in all arguments of a call and in what it returns."""

    @functools.wraps(function)
    def bound(*args: Any, **kwargs: Any) -> Any:
        with axes_of_a_call:
            return function(*args, **kwargs)

    return bound


def _resolved(hint: Any, function: Callable) -> Any:
    """What a hint stands for; anything where it names what does not exist yet, as jaxtyping has it."""

    def named(value: Any) -> None: ...

    named.__annotations__ = {"value": hint}
    try:
        return typing.get_type_hints(named, function.__globals__, include_extras=True)["value"]
    except NameError:
        return Any


def _tells_a_shape(hint: Any) -> bool:
    if isinstance(hint, list):  # of the arguments of a callable
        return any(map(_tells_a_shape, hint))
    if inspect.isclass(hint):
        if issubclass(hint, jaxtyping.AbstractArray):
            return True
        bases = itertools.chain(*(vars(each).get("__orig_bases__", ()) for each in hint.__mro__))
        return any(map(_tells_a_shape, bases))  # a sequence of masks: beartype looks at an item, too
    return any(map(_tells_a_shape, typing.get_args(hint)))
