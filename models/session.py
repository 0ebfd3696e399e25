"""An onnxruntime session as small as a gateway needs it, and one error for all that can go wrong."""

from __future__ import annotations

from typing import Any

from wire.errors import ModelError


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
    options.enable_cpu_mem_arena = False  # a row is a few bytes: the arena would only cost memory
    options.log_severity_level = 3
    # onnxruntime's errors have no common base but Exception, and no public home.
    kinds = ("Fail", "InvalidProtobuf", "InvalidGraph", "InvalidArgument", "NotImplemented", "NoModel", "NoSuchFile")
    failures = tuple(getattr(onnxruntime.capi.onnxruntime_pybind11_state, kind) for kind in kinds)
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except failures as fault:
        raise ModelError(f"{where}: onnxruntime cannot load it: {str(fault).splitlines()[0]}") from fault
