"""The structure of a state dict's pickle, read without executing anything.

A pickle is a program for a small stack machine. This one knows the instructions that a state
dict is written with, and three calls: an OrderedDict, a tensor over a storage, a parameter
around a tensor. It makes descriptions of these; anything else that a pickle asks for is refused.

Each instruction, which is a byte or more, leaves about a hundred bytes in memory: so their number has
a limit, which a state dict of a hundred thousand tensors does not reach.

A pickle of a few bytes can make tuples nested so deeply that hashing one overflows the C stack, or
that printing one never ends: so only strings are keys, and reprlib prints the rest.
"""

import pickletools
from collections.abc import Callable
from reprlib import repr as brief
from typing import Any, NamedTuple

from tasks.core.errors import CorruptError
from tasks.weights.headers import is_shape

__all__ = ["Storage", "StoredTensor", "read_pickle"]

MOST_INSTRUCTIONS = 4_000_000
STORAGES = {
    "BFloat16Storage": "BF16",
    "HalfStorage": "F16",
    "FloatStorage": "F32",
    "DoubleStorage": "F64",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
}


class Storage(NamedTuple):
    """A record of the archive: its key, its dtype in the words of safetensors, its elements."""

    key: str
    dtype: str
    elements: int


class StoredTensor(NamedTuple):
    """A view of a storage; offset and strides in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Global(NamedTuple):
    """A name that the pickle would import."""

    module: str
    name: str


class _Mark:
    """Where a variable number of operands begins on the stack."""


def read_pickle(content: bytes) -> dict[str, StoredTensor]:
    """The tensors of a pickled state dict, by name.

    Raises:
        CorruptError: it is no state dict, or it would run something when loaded.
    """
    machine = _Machine()
    try:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            if number == MOST_INSTRUCTIONS:
                raise CorruptError(
                    f"the pickle has more than {MOST_INSTRUCTIONS:,} instructions, as no state dict has; "
                    "it may be an attack"
                )
            machine.step(opcode.name, argument)
        state = machine.stack.pop()
    except (IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptError(f"the pickle is damaged ({type(error).__name__}: {error})") from error
    if not isinstance(state, dict):
        raise CorruptError("the pickle holds no state dict (tensors by name)")
    for name, value in state.items():
        if isinstance(value, dict) and any(isinstance(inner, StoredTensor) for inner in value.values()):
            raise CorruptError(
                f"the state dict lies inside another, under {brief(name)}, as trainers save it; "
                f"torch.save what is under {brief(name)} alone, or save_pretrained the model"
            )
        if not isinstance(value, StoredTensor):
            raise CorruptError(
                f"the state dict's entry {brief(name)} is no tensor; torch.save the tensors alone"
            )
    return state


class _Machine:
    """The stack machine."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def step(self, opcode: str, argument: Any) -> None:  # noqa: ANN401 (a pickle's argument can be anything)
        if opcode in LITERALS:
            self.stack.append(argument)
        elif opcode in CONSTANTS:
            self.stack.append(CONSTANTS[opcode]())
        elif opcode in TUPLES:
            self._tuple(TUPLES[opcode])
        elif opcode in ("BINGET", "LONG_BINGET", "GET"):
            self.stack.append(self._memo[argument])
        elif opcode in ("BINPUT", "LONG_BINPUT", "PUT"):
            self._memo[argument] = self.stack[-1]
        elif opcode == "MEMOIZE":
            self._memo[len(self._memo)] = self.stack[-1]
        elif opcode in ACTIONS:
            ACTIONS[opcode](self, argument)
        elif opcode in ("NEWOBJ", "NEWOBJ_EX", "OBJ", "INST"):
            raise CorruptError(
                f"the pickle has the instruction {opcode}, which makes objects: a whole model, saved by "
                "torch.save(model)? Save model.state_dict(), or save_pretrained the model"
            )
        elif opcode not in ("PROTO", "FRAME", "STOP"):
            raise CorruptError(f"the pickle has the instruction {opcode}, which no state dict needs")

    def _tuple(self, length: int) -> None:
        items = [self.stack.pop() for _ in range(length)]
        self.stack.append(tuple(reversed(items)))

    def _from_mark(self) -> list[Any]:
        items = []
        while not isinstance(item := self.stack.pop(), _Mark):
            items.append(item)
        return items[::-1]

    def _marked_tuple(self, _: object) -> None:
        self.stack.append(tuple(self._from_mark()))

    def _set_item(self, _: object) -> None:
        key, value = self.stack[-2:]
        del self.stack[-2:]
        self.stack[-1][_name(key)] = value

    def _set_items(self, _: object) -> None:
        items = self._from_mark()
        self.stack[-1].update(zip(map(_name, items[::2]), items[1::2], strict=True))

    def _append(self, _: object) -> None:
        item = self.stack.pop()
        self.stack[-1].append(item)

    def _append_all(self, _: object) -> None:
        items = self._from_mark()
        self.stack[-1].extend(items)

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self.stack.append(_Global(module, name))

    def _stack_global(self, _: object) -> None:
        module, name = self.stack[-2:]
        self.stack[-2:] = [_Global(_name(module), _name(name))]

    def _reduce(self, _: object) -> None:
        called, arguments = self.stack[-2:]
        self.stack[-2:] = [_call(called, arguments)]

    def _build(self, _: object) -> None:
        # The version notes that a state dict carries beside its tensors.
        self.stack.pop()
        if not isinstance(self.stack[-1], dict):
            raise CorruptError("the pickle sets the state of an object, which no state dict needs")

    def _persistent(self, _: object) -> None:
        kind, storage, key, _, elements = self.stack.pop()
        if kind == "storage" and storage.name == "UntypedStorage":
            raise CorruptError(
                "the pickle has tensors of a dtype without a storage class, as float8: it is quantized; "
                "use the checkpoint that it was quantized from"
            )
        if kind != "storage" or storage.module != "torch" or storage.name not in STORAGES:
            raise CorruptError(f"the pickle has a storage of an unknown kind, {brief(storage)}")
        if not isinstance(key, str) or type(elements) is not int or elements < 0:
            raise CorruptError(f"the pickle has a storage {brief(key)} of {brief(elements)} elements")
        self.stack.append(Storage(key, STORAGES[storage.name], elements))


LITERALS = frozenset(
    ("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT")
)
CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "MARK": _Mark,
}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "APPEND": _Machine._append,
    "APPENDS": _Machine._append_all,
    "BINPERSID": _Machine._persistent,
    "BUILD": _Machine._build,
    "GLOBAL": _Machine._global,
    "REDUCE": _Machine._reduce,
    "SETITEM": _Machine._set_item,
    "SETITEMS": _Machine._set_items,
    "STACK_GLOBAL": _Machine._stack_global,
    "TUPLE": _Machine._marked_tuple,
}


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise CorruptError(f"the pickle has {brief(value)} where a state dict has a name")
    return value


def _call(called: object, arguments: tuple[Any, ...]) -> object:
    """The description of what a call would make, for the three calls that a state dict needs."""
    match called, arguments:
        case _Global("collections", "OrderedDict"), ():
            return {}
        case _Global("torch._utils", "_rebuild_tensor_v2"), (
            Storage() as storage,
            offset,
            shape,
            strides,
            *_,
        ):
            return _tensor(storage, offset, shape, strides)
        case _Global("torch._utils", "_rebuild_parameter"), (StoredTensor() as tensor, *_):
            return tensor
        case _Global(module, name), _:
            raise CorruptError(
                f"the pickle calls {module}.{name}; it is no plain state dict, and may be an attack"
            )
        case _:
            raise CorruptError("the pickle calls something that is no name")


def _tensor(storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> StoredTensor:
    sound = is_shape((offset,)) and is_shape(shape) and is_shape(strides) and len(shape) == len(strides)
    if not sound:
        raise CorruptError(f"the pickle has a tensor of shape {brief(shape)} and strides {brief(strides)}")
    return StoredTensor(storage, offset, shape, strides)
