"""Traps in how Python and torch are set in this process."""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from metaweight.doctor.facts import Facts
from metaweight.doctor.traps import Rule, Trap

SHORT = ("float16", "bfloat16")


def gradients(facts: Facts) -> Iterator[Trap]:
    """Nothing can be trained without them."""
    if not facts.settings.gradients:
        what = "gradients are off in the whole process: every training step is refused"
        yield Trap("gradients", True, what, "torch.set_grad_enabled(True), or leave inference_mode")


def anomaly(facts: Facts) -> Iterator[Trap]:
    """torch keeps a trace of every operator and looks for NaN in every backward."""
    if facts.settings.anomaly:
        what = "torch's anomaly detection is on: every step is much slower"
        yield Trap("anomaly", True, what, "torch.autograd.set_detect_anomaly(False)")


def default_dtype(facts: Facts) -> Iterator[Trap]:
    """Teachers and students that are built without a type get the default one."""
    dtype = facts.settings.default_dtype
    if dtype in SHORT:
        what = f"torch's default type is {dtype}: what is built without a type has 2 or 3 digits"
        advice = "torch.set_default_dtype(torch.float32); mixed precision is Execution(precision='bf16')"
        yield Trap("default-dtype", True, what, advice)


def default_device(facts: Facts) -> Iterator[Trap]:
    """Tensors that name no device land there."""
    device = facts.settings.default_device
    if not device.startswith("cpu"):
        what = f"torch's default device is {device}: what data sets and generators make lands there too"
        advice = "torch.set_default_device('cpu'), and --device or module.to(...)"
        yield Trap("default-device", True, what, advice)


def float32_products(facts: Facts) -> Iterator[Trap]:
    """TF32, or bfloat16 on some CPUs, in the place of float32."""
    precision = facts.settings.matmul_precision
    advice = "torch.set_float32_matmul_precision('highest')"
    if precision is None:
        what = "old and new settings of float32's precision contradict each other, and torch names none"
        yield Trap("matmul-precision", True, what, "set one of them alone")
    elif precision != "highest":
        what = f"products in float32 have the precision {precision!r}: exact engines agree to fewer digits"
        yield Trap("matmul-precision", True, what, advice)
    elif facts.settings.tf32_products:
        what = "products in float32 are made in TF32 on a GPU: exact engines agree to fewer digits there"
        yield Trap("matmul-precision", True, what, advice)


def float32_convolutions(facts: Facts) -> Iterator[Trap]:
    """torch's default for a GPU that has TF32."""
    has = any(device.kind == "cuda" and device.bf16 for device in facts.machine.devices)
    if has and facts.settings.tf32_convolutions:
        what = "convolutions in float32 are made in TF32 on the GPU, torch's default"
        advice = "torch.backends.cudnn.allow_tf32 = False, where engines are compared"
        yield Trap("tf32-convolutions", False, what, advice)


def benchmarked_convolutions(facts: Facts) -> Iterator[Trap]:
    """The fastest way to a convolution is chosen by the clock."""
    if facts.settings.cudnn_benchmark and any(one.kind == "cuda" for one in facts.machine.devices):
        what = "cuDNN chooses by the clock how to convolve: two runs may differ in their last bits"
        yield Trap("cudnn-benchmark", False, what, "torch.backends.cudnn.benchmark = False")


def denormals(facts: Facts) -> Iterator[Trap]:
    """The processor's flag is each thread's, and compiled libraries set it when they are loaded."""
    if facts.settings.flushes_denormals:
        what = "the smallest numbers count as 0: a run is not the same to the bit as without"
        advice = "torch.set_flush_denormal(False); a library built with -ffast-math may set it as it loads"
        yield Trap("denormals", True, what, advice)


def runtimes(facts: Facts) -> Iterator[Trap]:
    """Intel's and LLVM's in one process are known to hang or crash on Linux; other mixtures get on."""
    kinds = sorted({runtime.name for runtime in facts.settings.runtimes})
    if {"libiomp", "libomp"} <= set(kinds):
        what = f"OpenMP runtimes of several kinds are loaded, {', '.join(kinds)}: they may hang or crash"
        advice = "install torch, numpy and scikit-learn from one source, pip or conda"
        yield Trap("openmp", True, what, advice)


def hash_seed(facts: Facts) -> Iterator[Trap]:
    """A program that goes through a set of texts takes another order each time that it is started."""
    if facts.settings.hash_seed == "random":
        what = "Python orders sets of texts anew in each process, and so does code that goes through one"
        yield Trap("hash-seed", False, what, "export PYTHONHASHSEED=0, or sort them")


def optimized(facts: Facts) -> Iterator[Trap]:
    """Assertions are metaweight's own checks of itself."""
    if facts.settings.optimized:
        what = "Python runs with -O: metaweight's checks of itself are left out"
        yield Trap("optimized", True, what, "leave out -O and PYTHONOPTIMIZE")


def encodings(facts: Facts) -> Iterator[Trap]:
    """What metaweight writes is UTF-8 everywhere; what a terminal or a file's name cannot hold is spelt."""
    settings = facts.settings
    encodings = {
        "files that are opened without an encoding": settings.encoding,
        "standard output": settings.output_encoding,
        "names of files": settings.filesystem_encoding,
    }
    others = [f"{what}: {name}" for what, name in encodings.items() if name and not _is_utf8(name)]
    if others:
        what = f"the locale is not UTF-8 ({', '.join(others)}): letters may be read wrong or spelt out"
        yield Trap("locale", True, what, "export LC_ALL=C.UTF-8, or PYTHONUTF8=1")


def data_folder(facts: Facts) -> Iterator[Trap]:
    """Data sets are looked for there."""
    if not facts.settings.data_folder:
        what = "METAWEIGHT_DATA names a folder that is not there"
        yield Trap("data-folder", True, what, "export METAWEIGHT_DATA=FOLDER, or unset it")


def _is_utf8(name: str) -> bool:
    try:
        return codecs.lookup(name).name == "utf-8"
    except LookupError:
        return False


SETTINGS: tuple[Rule, ...] = (
    gradients,
    anomaly,
    default_dtype,
    default_device,
    float32_products,
    float32_convolutions,
    benchmarked_convolutions,
    denormals,
    runtimes,
    hash_seed,
    optimized,
    encodings,
    data_folder,
)
