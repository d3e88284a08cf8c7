"""How Python and torch are set in this process: what a program, a variable or a launcher has changed."""

from __future__ import annotations

import ctypes
import locale
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import torch
from threadpoolctl import threadpool_info

from metaweight.core.launched import started_as
from metaweight.core.plugins import VARIABLE as IMPORT
from metaweight.core.plugins import imported_modules
from metaweight.core.records import Record
from metaweight.data.folder import VARIABLE as DATA
from metaweight.data.folder import data_folder

T = TypeVar("T")
NUMBERS = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "KMP_AFFINITY", "OMP_PROC_BIND"),
    *("PYTHONHASHSEED", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "CUDA_VISIBLE_DEVICES"),
    *("CUDA_LAUNCH_BLOCKING", "CUBLAS_WORKSPACE_CONFIG", "PYTORCH_CUDA_ALLOC_CONF", "NVIDIA_TF32_OVERRIDE"),
    *("WORLD_SIZE", "LOCAL_WORLD_SIZE", "RANK", "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"),
    *("TORCHDYNAMO_DISABLE", "TOKENIZERS_PARALLELISM", "LANG", "LC_ALL", "PYTHONUTF8", "PYTHONIOENCODING"),
)
"""Variables whose values are told."""
PLACES = (DATA, IMPORT, "LD_PRELOAD", "TMPDIR", "CXX")
"""Variables that hold paths or names of one's own: it is told only that they are set."""


class Runtime(Record, frozen=True):
    """An OpenMP runtime in this process."""

    name: str
    """libgomp (GNU), libomp (LLVM) or libiomp (Intel)."""
    file: str
    threads: int


class Settings(Record, frozen=True, kw_only=True):
    """None: torch does not say."""

    threads: int
    interop_threads: int
    processes: int
    """Of the run on this machine, as their launcher says: 1 without one."""
    variables: Mapping[str, str]
    """Of ``NUMBERS`` and ``PLACES`` those that are set."""
    data_folder: bool
    """Whether METAWEIGHT_DATA, where it is set, names a folder."""
    modules: tuple[str, ...]
    """Files and modules of ``--import``."""
    runtimes: tuple[Runtime, ...]

    default_dtype: str
    default_device: str
    gradients: bool
    """Whether passes are recorded: neither ``no_grad`` nor ``inference_mode`` is on."""
    anomaly: bool
    flushes_denormals: bool
    """Whether the smallest numbers count as 0; tried."""
    deterministic: bool
    deterministic_warns: bool
    """Whether an operator that is not deterministic warns, where it would raise an error."""
    cudnn_deterministic: bool
    cudnn_benchmark: bool
    matmul_precision: str | None
    """Of float32: highest, high or medium."""
    tf32_products: bool | None
    tf32_convolutions: bool | None
    sharing: str
    """How torch hands tensors to other processes: file_descriptor or file_system."""

    hash_seed: str
    """Of Python's sets of texts: random, or a number."""
    optimized: int
    """Python's -O: 1 leaves out assertions."""
    encoding: str
    """Of files that are opened without one."""
    output_encoding: str
    filesystem_encoding: str


def settings_here() -> Settings:
    """Looked up now.  Loads the OpenMP runtime that scikit-learn brings."""
    return Settings(
        threads=torch.get_num_threads(),
        interop_threads=torch.get_num_interop_threads(),
        processes=_processes(),
        variables=_variables(),
        data_folder=_has_data_folder(),
        modules=tuple(os.path.basename(name) for name in imported_modules()),
        runtimes=_runtimes(),
        default_dtype=str(torch.get_default_dtype()).removeprefix("torch."),
        default_device=str(torch.get_default_device()),
        gradients=torch.is_grad_enabled() and not torch.is_inference_mode_enabled(),
        anomaly=torch.is_anomaly_enabled(),
        flushes_denormals=_flushes_denormals(),
        deterministic=torch.are_deterministic_algorithms_enabled(),
        deterministic_warns=torch.is_deterministic_algorithms_warn_only_enabled(),
        cudnn_deterministic=torch.backends.cudnn.deterministic,
        cudnn_benchmark=torch.backends.cudnn.benchmark,
        matmul_precision=_said(torch.get_float32_matmul_precision),
        tf32_products=_said(lambda: bool(torch.backends.cuda.matmul.allow_tf32)),
        tf32_convolutions=_said(lambda: bool(torch.backends.cudnn.allow_tf32)),
        sharing=torch.multiprocessing.get_sharing_strategy(),
        hash_seed=os.environ.get("PYTHONHASHSEED") or "random",
        optimized=sys.flags.optimize,
        encoding=locale.getpreferredencoding(False),
        output_encoding=getattr(sys.stdout, "encoding", None) or "",
        filesystem_encoding=sys.getfilesystemencoding(),
    )


def _said(ask: Callable[[], T]) -> T | None:
    """What torch answers; None where old and new names of a setting contradict each other."""
    try:
        return ask()
    except RuntimeError:
        return None


def _processes() -> int:
    try:
        return max(1, int(os.environ.get("LOCAL_WORLD_SIZE") or started_as()[1]))
    except ValueError:  # variables that are no numbers; shown with the others
        return 1


def _variables() -> dict[str, str]:
    told = {name: os.environ[name] for name in NUMBERS if name in os.environ}
    return told | {name: "(set)" for name in PLACES if os.environ.get(name)}


def _has_data_folder() -> bool:
    try:
        data_folder(None)
    except ValueError:
        return False
    return True


def _runtimes() -> tuple[Runtime, ...]:
    _load_sklearns_runtime()
    loaded = [one for one in threadpool_info() if one["user_api"] == "openmp"]
    return tuple(
        Runtime(one["prefix"], os.path.basename(one["filepath"]), one["num_threads"]) for one in loaded
    )


def _load_sklearns_runtime() -> None:
    """As an import of scikit-learn does, in a hundredth of its time: by the smallest of what needs it."""
    found = find_spec("sklearn")
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        for library in (Path(folder) / "utils").glob("_openmp_helpers*"):
            if library.suffix in (".so", ".pyd"):
                with suppress(OSError):
                    ctypes.CDLL(str(library))


def _flushes_denormals() -> bool:
    return float(torch.full((1,), 1e-310, dtype=torch.float64, device="cpu") / 2) == 0.0
