"""What an installation can do and what it lacks, in sentences. Looks, changes nothing, and never fails."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import shlex
from collections.abc import Callable, Iterator

from pontryagin.backend.cache import contents
from pontryagin.backend.cuda_ahead import find_ahead
from pontryagin.backend.nvrtc import find_nvrtc
from pontryagin.backend.toolchain import find_compiler, try_out
from pontryagin.errors import BackendError


def examine() -> Iterator[str]:
    """The lines that `pontryagin doctor` prints."""
    for name, look in CHECKS.items():
        try:
            found = look()
        except Exception as error:  # whatever is broken, the next line may still help
            found = f"could not be examined ({type(error).__name__}: {error})"
        yield f"{name:<16}{found}"


def _version(package: str) -> Callable[[], str]:
    def look() -> str:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return "not installed"

    return look


def _package() -> str:
    found = _version("pontryagin")()
    return found if found != "not installed" else "runs from its source tree, without being installed"


def _python() -> str:
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}"


def _processor() -> str:
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} logical cores"


def _threads() -> str:
    return f"{importlib.import_module('torch').get_num_threads()}, as torch says"


def _interpreter() -> str:
    try:
        core = importlib.import_module("pontryagin._core")
    except ImportError as error:
        return f"missing: the compiled module does not load ({error}); reinstall the package. torch works without"
    return f"works; instruction set {core.instruction_set()}, {core.lanes()} lanes"


def _compiler() -> str:
    try:
        found = find_compiler()
    except BackendError as error:
        return f"none found: {error}"
    return f"{shlex.join(found.command)}: {found.version}"


def _native() -> str:
    try:
        compiler = find_compiler()
    except BackendError:
        return "missing, for want of a compiler; the interpreter is used"
    try:
        try_out(compiler)
    except BackendError as error:
        return f"missing: {error}".replace("\n", f"\n{'':16}")
    return "works; the compiler builds and links with the headers of this package"


def _cache() -> str:
    try:
        return str(contents())
    except BackendError as error:
        return f"cannot be used: {error}"


def _cuda() -> str:
    torch = importlib.import_module("torch")
    if torch.version.cuda is None:
        return "no: this torch was built without CUDA; install a CUDA build of torch to use a GPU"
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        return f"yes, by torch {torch.version.cuda}: {names}"
    try:
        torch.cuda.init()
    except Exception as error:  # torch raises AssertionError or RuntimeError, with the reason as its text
        return f"no: {str(error).splitlines()[0]}"
    return "no: torch was built for it but finds no GPU"


def _nvrtc() -> str:
    try:
        found = find_nvrtc()
    except BackendError as error:
        return f"none found: {error}"
    known = found.architectures()
    version = ".".join(map(str, found.version))
    return f"{version}, for sm_{known[0]} to sm_{known[-1]}; kernels for GPUs can be compiled"


def _kernels() -> str:
    try:
        found = find_ahead()
    except BackendError as error:
        return f"none: {error}"
    known = ", ".join(f"sm_{architecture}" for architecture in found.architectures)
    return f"by nvcc {'.'.join(map(str, found.toolkit))}, for {known} and newer ones; used where NVRTC cannot be"


#: What is looked at, in the order of the printout.
CHECKS: dict[str, Callable[[], str]] = {
    "pontryagin": _package,
    "python": _python,
    "torch": _version("torch"),
    "numpy": _version("numpy"),
    "rich": _version("rich"),
    "matplotlib": _version("matplotlib"),
    "processor": _processor,
    "threads": _threads,
    "interpreter": _interpreter,
    "compiler": _compiler,
    "native": _native,
    "cache": _cache,
    "CUDA": _cuda,
    "NVRTC": _nvrtc,
    "CUDA kernels": _kernels,
}
