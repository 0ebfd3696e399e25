"""An onnxruntime session as small as a gateway needs it, and one error for all that can go wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models import manifest as manifests
from wire.errors import ModelError

Verify = Callable[[bytes, str], bool]
"""(what was signed, signature) -> whether the key that this machine trusts made it."""


def open_session(content: bytes, where: str) -> Any:
    """where: the file's name, for the message. Raises ModelError."""
    try:
        import onnxruntime
    except ImportError as fault:
        raise ModelError(
            f"{where}: scoring is off on this machine: onnxruntime is not installed "
            "(there is none for 32-bit ARM; elsewhere: pip install onnxruntime). Everything else runs."
        ) from fault
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # A row is a few bytes: arena, patterns and fused kernels would only cost memory; constants are used as they stand.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.log_severity_level = 4
    with refusals(where):
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


@contextmanager
def refusals(where: str) -> Iterator[None]:
    """What onnxruntime raises inside becomes a ModelError. They have no common base but Exception."""
    import onnxruntime

    kinds = (
        "Fail", "InvalidProtobuf", "InvalidGraph", "InvalidArgument", "NotImplemented", "NoModel", "NoSuchFile",
        "RuntimeException",
    )  # fmt: skip
    failures = tuple(getattr(onnxruntime.capi.onnxruntime_pybind11_state, kind) for kind in kinds)
    try:
        yield
    except failures as fault:
        raise ModelError(f"{where}: onnxruntime cannot load it: {str(fault).splitlines()[0]}") from fault


def check_signature(content: bytes, signature: str, path: Path, verify: Verify) -> None:
    """Raises ModelError for a file that the trusted key has not signed."""
    if not signature:
        raise ModelError(f"{path}: not signed, and this machine takes only models that its key has signed")
    if not verify(manifests.signed_part(content, str(path)), signature):
        raise ModelError(f"{path}: its signature is not one of the key that this machine trusts: do not use this file")
