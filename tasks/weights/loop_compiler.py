"""A loop's object code, by numba: what `tasks.weights.loop_cache` keeps."""

from importlib import import_module

import llvmlite.binding as llvm
import numpy as np
from numba import from_dtype, types
from numba.core.compiler import Flags, compile_extra
from numba.core.registry import cpu_target

from tasks.weights.machine_code import Argument, CodeHeader, target_machine

__all__ = ["compile_loop"]

# Of the processor or of the C library: what every process has.
PROVIDED = ("llvm.", "sqrt", "memset", "memcpy", "memmove")


def compile_loop(module: str, name: str, arguments: tuple[Argument, ...]) -> tuple[CodeHeader, bytes]:
    """Compiles a function for such arguments, for this processor.

    Raises:
        TypeError: the code calls what is not in every process that loads it.
        numba.TypingError: numba cannot compile it, such as a loop that allocates.
    """
    flags = Flags()  # without numba's memory management, so that the code stands alone
    flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    function = getattr(import_module(module), name)
    compiled = compile_extra(
        cpu_target.typing_context,
        cpu_target.target_context,
        getattr(function, "py_func", function),
        tuple(_type(argument) for argument in arguments),
        None,
        flags,
        {},
    )
    assembly = llvm.parse_assembly(compiled.library.get_llvm_str())
    missing = [
        each.name
        for each in (*assembly.functions, *assembly.global_variables)
        if each.is_declaration and not each.name.startswith(PROVIDED)
    ]
    if missing:
        raise TypeError(
            f"{module}.{name} calls {', '.join(missing)}, which a process without numba may not have"
        )
    returned = compiled.signature.return_type
    tupled = isinstance(returned, types.BaseTuple)
    dtypes = tuple(str(each) for each in returned) if tupled else (str(returned),)
    header = CodeHeader(
        arguments=arguments,
        symbol=compiled.fndesc.llvm_func_name,
        returns=() if returned == types.none else dtypes,
        single=not tupled and returned != types.none,
    )
    return header, target_machine().emit_object(assembly)


def _type(argument: Argument) -> types.Type:
    dtype = from_dtype(np.dtype(argument.dtype))
    if not argument.dimensions:
        return dtype
    return types.Array(dtype, argument.dimensions, "C", aligned=argument.aligned)
