"""A pickle as inert data: what it would look up, call or make becomes a record of the wish, and nothing runs.

A small machine of its own walks the opcodes, as Python's would, with stand-ins wherever Python's imports or calls. It
looks up no name, makes no object of the file's choosing, and stops at bounds that no file of weights comes near.
"""

import pickle
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

from vidtok.errors import WeightsError

MAX_OPCODES = 3_000_000
"""A training state of 10,000 tensors has about 300,000."""
HUGE, PERSISTENT = "int beyond 64 bits", "persistent"
_BIG = 1 << 63
"""Whole numbers beyond are left out: no weight file counts so far, and huge ones cost time to print and compare."""

_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}
"""Modules as older protocols spell them."""
_PUSH_ARGUMENT = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING"),
    *("SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES"),
    *("BINBYTES8", "BYTEARRAY8"),
}
_PUSH_NEW: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,
}
_COLLECT: dict[str, Callable[[list[Any]], Any]] = {"TUPLE": tuple, "LIST": list, "FROZENSET": list}
_FIXED = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUT = {"PUT", "BINPUT", "LONG_BINPUT"}
_GET = {"GET", "BINGET", "LONG_BINGET"}
_NOTHING = {"PROTO", "FRAME", "STOP"}
_EXTENSIONS = {"EXT1", "EXT2", "EXT4"}


@dataclass(eq=False, slots=True)
class Inert:
    """A name that a pickle looks up, or what it would make by calling it; nothing of either exists."""

    name: str
    """Module and name, such as ``torch._utils._rebuild_tensor_v2``; ``persistent`` for a reference to a storage."""
    args: tuple[Any, ...] | None = None
    """What it would be called with; None for the name alone."""
    state: Any = None
    """What would be put into it afterwards."""
    items: dict[Any, Any] = field(default_factory=dict)
    entries: list[Any] = field(default_factory=list)


def read_pickle(stream: IO[bytes], where: str, references: list[Inert] | None = None) -> Any:
    """The value of the pickle at the stream's position, of plain containers, plain values and ``Inert``.

    The stream is left after the pickle's end; references to storages are appended to ``references``. Raises
    WeightsError for what is no pickle, and beyond the bounds.
    """
    machine = _Machine([] if references is None else references)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count > MAX_OPCODES:
                raise WeightsError(f"{where}: refused: more than {MAX_OPCODES:,} instructions are no file of weights")
            machine.step(opcode.name, argument)
        return machine.pop()
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, pickle.UnpicklingError):
        raise WeightsError(f"{where}: cannot be read, damaged or incomplete: its pickle makes no sense") from None


class _Machine:
    """Python's pickle machine: a stack, the stacks below its marks, and a memo."""

    def __init__(self, references: list[Inert]) -> None:
        self.references = references
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def pop(self) -> Any:
        return self.stack.pop()

    def pop_mark(self) -> list[Any]:
        """What lies above the last mark."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def step(self, name: str, argument: Any) -> None:
        """Do one instruction."""
        push = self.stack.append
        if name in _PUSH_ARGUMENT:
            is_huge = isinstance(argument, int) and not -_BIG <= argument < _BIG
            push(Inert(HUGE, (argument,)) if is_huge else argument)
        elif name in _PUSH_NEW:
            push(_PUSH_NEW[name]())
        elif name in _COLLECT:
            items = self.pop_mark()
            self.stack.append(_COLLECT[name](items))
        elif name in _FIXED:
            count = _FIXED[name]
            items = tuple(self.stack[-count:])
            if len(items) < count:
                raise IndexError
            self.stack[-count:] = [items]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in _PUT:
            self.memo[argument] = self.stack[-1]
        elif name in _GET:
            push(self.memo[argument])
        elif name not in _NOTHING:
            self._change(name, argument)

    def _change(self, name: str, argument: Any) -> None:
        """The rarer instructions: marks, containers that grow, and all that Python would look up or call."""
        match name:
            case "MARK":
                self.below.append(self.stack)
                self.stack = []
            case "POP":
                _ = self.stack.pop() if self.stack else self.pop_mark()
            case "POP_MARK":
                self.pop_mark()
            case "DUP":
                self.stack.append(self.stack[-1])
            case "DICT":
                pairs = self.pop_mark()
                made: dict[Any, Any] = {}
                _set_items(made, pairs)
                self.stack.append(made)
            case "SETITEM":
                value, key = self.pop(), self.pop()
                _set_items(self.stack[-1], [key, value])
            case "SETITEMS":
                pairs = self.pop_mark()
                _set_items(self.stack[-1], pairs)
            case "APPEND":
                value = self.pop()
                _entries(self.stack[-1]).append(value)
            case "APPENDS" | "ADDITEMS":
                values = self.pop_mark()
                _entries(self.stack[-1]).extend(values)
            case _:
                self._wish(name, argument)

    def _wish(self, name: str, argument: Any) -> None:
        """Record what Python would look up or call."""
        match name:
            case "GLOBAL":
                self.stack.append(Inert(_name(*argument.split(" ", 1))))
            case "STACK_GLOBAL":
                attribute, module = self.pop(), self.pop()
                self.stack.append(Inert(_name(module, attribute)))
            case "REDUCE" | "NEWOBJ":
                args, made_by = self.pop(), self.pop()
                self.stack.append(_call(made_by, args))
            case "NEWOBJ_EX":
                _, args, made_by = self.pop(), self.pop(), self.pop()
                self.stack.append(_call(made_by, args))
            case "INST":
                args = tuple(self.pop_mark())
                self.stack.append(Inert(_name(*argument.split(" ", 1)), args))
            case "OBJ":
                made_by, *args = self.pop_mark()
                self.stack.append(_call(made_by, tuple(args)))
            case "BUILD":
                state = self.pop()
                self._build(state)
            case "PERSID" | "BINPERSID":
                reference = Inert(PERSISTENT, (argument if name == "PERSID" else self.pop(),))
                self.references.append(reference)
                self.stack.append(reference)
            case name if name in _EXTENSIONS:
                self.stack.append(Inert(f"extension {argument}"))
            case _:
                raise ValueError(name)

    def _build(self, state: Any) -> None:
        """Python would call ``__setstate__`` or set attributes; here the state is kept beside the wish."""
        target = self.stack[-1]
        if not isinstance(target, Inert):
            raise TypeError
        if target.args is not None:  # a name alone is shared by all its uses: no state of a file changes it
            target.state = state


def _call(made_by: Any, args: Any) -> Inert:
    """The wish to call something: a name, or what another wish would have made."""
    if not isinstance(args, tuple):
        raise TypeError
    if not isinstance(made_by, Inert):
        return Inert(f"call of a {type(made_by).__name__}", args)
    return Inert(made_by.name if made_by.args is None else f"result of {made_by.name}"[:200], args)


def _name(module: Any, attribute: Any) -> str:
    """The full name, short whatever the file says, with Python 3's spelling of modules."""
    if not (isinstance(module, str) and isinstance(attribute, str)):
        raise TypeError
    return f"{_PYTHON_2.get(module, module)[:100]}.{attribute[:100]}"


def _set_items(target: Any, pairs: list[Any]) -> None:
    """Put keys and values, in turns, into a dict or a stand-in; keys that are no plain value are left out.

    Hashing anything deeper could recurse without end.
    """
    items = target.items if isinstance(target, Inert) else target
    if not isinstance(items, dict) or len(pairs) % 2:
        raise TypeError
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        if key is None or isinstance(key, str | int | float | bool):
            items[key] = value


def _entries(target: Any) -> list[Any]:
    entries = target.entries if isinstance(target, Inert) else target
    if not isinstance(entries, list):
        raise TypeError
    return entries
