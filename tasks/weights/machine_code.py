"""Object code in this process: loaded by LLVM and called through ctypes, without numba."""

import ctypes
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np

from tasks.core.values import Value

__all__ = ["Argument", "CodeHeader", "MachineCode", "argument_of", "target_machine"]


class Argument(NamedTuple):
    """What machine code is made for: a dtype, and of an array its dimensions and whether it is aligned."""

    dtype: str
    dimensions: int = 0
    aligned: bool = True


class CodeHeader(Value):
    """Of a loop's object code.

    arguments  that it takes
    symbol     its name within the object
    returns    dtypes of what it gives back; of nothing none
    single     whether that is one value and no tuple
    """

    arguments: tuple[Argument, ...]
    symbol: str
    returns: tuple[str, ...]
    single: bool


class MachineCode:
    """A loop's object code, loaded.

    It is called as numba calls its functions among themselves: a place for the result, one for an exception,
    and the arguments, of which an array is its parts (the first two, its owners, are none).
    """

    def __init__(self, header: CodeHeader, code: bytes) -> None:
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine())
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        self._header = header
        self._names = [f"f{place}" for place in range(len(header.returns))]
        fields = list(zip(self._names, map(_ctype, header.returns), strict=True))
        self._result = type("Result", (ctypes.Structure,), {"_fields_": fields})
        kinds: list[Any] = [ctypes.c_void_p, ctypes.c_void_p]
        for argument in header.arguments:
            kinds += _parts(argument)
        address = self._engine.get_function_address(header.symbol)
        self._call = ctypes.CFUNCTYPE(ctypes.c_int32, *kinds)(address)

    def __call__(self, values: tuple[Any, ...]) -> Any:  # noqa: ANN401
        """Runs it on values of its arguments' kinds, without the interpreter's lock.

        Raises:
            RuntimeError: the loop raised an error; no loop here does.
        """
        result, error = self._result(), ctypes.c_void_p()
        given: list[Any] = [ctypes.addressof(result), ctypes.addressof(error)]
        for value in values:
            if isinstance(value, np.ndarray):
                given += [
                    None,
                    None,
                    value.size,
                    value.itemsize,
                    value.ctypes.data,
                    *value.shape,
                    *value.strides,
                ]
            else:
                given.append(value)
        if status := self._call(*given):
            raise RuntimeError(f"{self._header.symbol}: a compiled loop failed with status {status}")
        found = tuple(getattr(result, name) for name in self._names)
        return found[0] if self._header.single else found


def target_machine() -> llvm.TargetMachine:
    """This machine, as code is made for it and loaded on it."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features().flatten()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features, opt=3, codemodel="jitdefault", jit=True
    )


def argument_of(value: Any) -> Argument:  # noqa: ANN401
    """What a value is to a loop.

    Raises:
        ValueError: an array is not contiguous, in C order.
    """
    if not isinstance(value, np.ndarray):
        return Argument(np.result_type(value).name)
    if not value.flags.c_contiguous:
        raise ValueError("a compiled loop takes arrays that are contiguous, in C order")
    return Argument(value.dtype.name, value.ndim, value.flags.aligned)


def _parts(argument: Argument) -> list[Any]:
    if not argument.dimensions:
        return [_ctype(argument.dtype)]
    owners, sizes, data = [ctypes.c_void_p] * 2, [ctypes.c_ssize_t] * 2, [ctypes.c_void_p]
    return [*owners, *sizes, *data, *[ctypes.c_ssize_t] * (2 * argument.dimensions)]


def _ctype(dtype: str) -> Any:  # noqa: ANN401 - a ctypes class
    return np.ctypeslib.as_ctypes_type(dtype)
