"""One dispatch for all operations: which implementation runs, why the others do not, and how to add one.

1. An `Operation` has a list of implementations, best first. An `Implementation` says why it cannot serve a request
   (`refusal`), or does it (`run`).
2. ``impl="auto"`` takes the first that does not refuse. If that one fails although neither the request nor memory is
   to blame (its kernel does not compile or launch on this device), `auto` warns once and takes the next.
3. A named implementation runs or raises, with every implementation's reason.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from interact_kernels.memory import out_of_memory


class Request(Protocol):
    """A request to an operation: its tensors and options."""

    @property
    def kind(self) -> Hashable:
        """What decides whether a kernel compiles and launches: device, dtypes, sizes."""
        ...

    @property
    def in_place(self) -> bool:
        """Whether the result goes where the input lies, so that a run that failed may have spoiled it."""
        ...


R = TypeVar("R", bound=Request)
T = TypeVar("T")


def never(request: Any) -> None:
    """Refuse nothing."""


@dataclass(frozen=True)
class Implementation(Generic[R, T]):
    """One way to do an operation.

    Attributes:
        name: What `impl` calls it.
        run: Serves a request; the caller has called `refusal` before.
        refusal: Says in a few words why it cannot run for a request here, or None. It is called for each request, so it
            must be quick.
    """

    name: str
    run: Callable[[R], T]
    refusal: Callable[[R], str | None] = never


class Operation(Generic[R, T]):
    """An operation and its implementations.

    Args:
        name: What messages call it.
        implementations: The list, best first; the last is the reference.
        preferred: Which implementation goes first for a request, or None where the list's order holds.
    """

    def __init__(
        self,
        name: str,
        implementations: Sequence[Implementation[R, T]],
        preferred: Callable[[R], str | None] | None = None,
    ) -> None:
        self.name = name
        self._list = tuple(implementations)
        self._named = {one.name: one for one in implementations}
        self._preferred = preferred
        # Whom each implementation stands with when the preferred one goes first.
        self._with = {name: name for name in self._named}
        self._failures: dict[tuple[str, Hashable], str] = {}
        self._warned: set[tuple[str, str]] = set()

    def register(self, implementation: Implementation[R, T], *, before: str = "reference") -> None:
        """Add an implementation, which `auto` then tries directly before another one.

        Args:
            implementation: The new one.
            before: Name of the other one: the reference, to be taken where nothing faster can run; the one that
                `explain` names, to be taken instead of it.

        Raises:
            ValueError: The name is taken, or there is no implementation `before`.
        """
        if implementation.name == "auto" or implementation.name in self._named:
            raise ValueError(f"{self.name} already has an implementation {implementation.name!r}; choose another name.")
        self._check_name(before)
        at = self._list.index(self._named[before])
        self._with[implementation.name] = self._with[before]
        self._named[implementation.name] = implementation
        self._list = (*self._list[:at], implementation, *self._list[at:])

    def unregister(self, name: str) -> None:
        """Take an implementation out again.

        Raises:
            ValueError: There is no such implementation.
        """
        self._check_name(name)
        self._list = tuple(one for one in self._list if one.name != name)
        del self._named[name], self._with[name]
        self._failures = {key: reason for key, reason in self._failures.items() if key[0] != name}
        self._warned = {key for key in self._warned if key[0] != name}

    def choose(self, request: R, impl: str = "auto") -> Implementation[R, T]:
        """Return the implementation to run.

        Args:
            request: The request.
            impl: ``"auto"`` or the name of an implementation.

        Raises:
            ValueError: `impl` names no implementation.
            RuntimeError: The named implementation (or, for ``"auto"``, every one) cannot run here.
        """
        if impl == "auto":
            for one in self._ordered(request):
                if self._refusal(one, request) is None:
                    return one
        else:
            self._check_name(impl)
            # What failed for `auto` can still be named: its error is then raised in full.
            if self._named[impl].refusal(request) is None:
                return self._named[impl]
        raise RuntimeError(f"{self.name} cannot run with impl={impl!r} here. {self.explain(request)}")

    def run(self, request: R, impl: str = "auto") -> T:
        """Serve a request with the implementation that `choose` returns.

        Raises:
            ValueError, RuntimeError: As `choose`; and what the implementation raises.

        Warns:
            RuntimeWarning: An implementation that ``"auto"`` chose has failed, and the next takes over; once for each
                implementation and reason.
        """
        if impl != "auto":
            return self.choose(request, impl).run(request)
        while True:
            chosen = self.choose(request)
            try:
                return chosen.run(request)
            except Exception as error:
                # A warning that the user made an error is no failure.
                if isinstance(error, (ValueError, Warning)) or out_of_memory(error):
                    raise
                if not self._fall_back(chosen, request, error):
                    raise

    def explain(self, request: R) -> str:
        """Say in one line which implementation ``"auto"`` runs and why the others do not."""
        runs, words = "nothing", []
        for one in self._ordered(request):
            reason = self._refusal(one, request)
            if reason is not None:
                words.append(f"{one.name}: no, {reason}")
            elif runs == "nothing":
                runs = one.name
                words.append(f"{one.name}: runs")
            else:
                words.append(f"{one.name}: could run")
        return f"{self.name}: auto takes {runs} ({'; '.join(words)})."

    def _ordered(self, request: R) -> Iterable[Implementation[R, T]]:
        first = None if self._preferred is None else self._preferred(request)
        if first is None:
            return self._list
        return sorted(self._list, key=lambda one: self._with[one.name] != first)

    def _refusal(self, one: Implementation[R, T], request: R) -> str | None:
        reason = one.refusal(request)
        if reason is None and self._failures:
            return self._failures.get((one.name, request.kind))
        return reason

    def _check_name(self, name: str) -> None:
        if name not in self._named:
            names = [one.name for one in self._list]
            raise ValueError(f"{self.name} has no implementation {name!r}; choose 'auto' or one of {names}.")

    def _fall_back(self, failed: Implementation[R, T], request: R, error: Exception) -> bool:
        """Leave out what has failed, for requests of this kind; return whether another one can take over now."""
        reason = _in_a_line(error)
        key = (failed.name, request.kind)
        self._failures[key] = f"it failed here ({reason})"
        following = next((one for one in self._ordered(request) if self._refusal(one, request) is None), None)
        if following is None:
            del self._failures[key]
            return False
        if request.in_place:
            raise RuntimeError(
                f"{self.name} failed in place with {failed.name} ({reason}), so the values given may be spoiled; give "
                f"them again. From now on auto takes {following.name} for similar requests."
            ) from error
        if (failed.name, reason) not in self._warned:
            self._warned.add((failed.name, reason))
            warnings.warn(
                f"{self.name} runs with {following.name}, because {failed.name} failed here ({reason}); "
                f"impl={failed.name!r} shows the error in full.",
                RuntimeWarning,
                stacklevel=4,
            )
        return True


def _in_a_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]:.200}" if lines else type(error).__name__
