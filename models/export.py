"""From a graph and its description to the bytes of one file, the same each time."""

from __future__ import annotations

import onnx
from onnx import helper

from models.manifest import Manifest

# Pinned: old enough for every onnxruntime that we allow, new enough for ReduceSum with axes as an input.
OPSET, IR_VERSION = 17, 8


def export(graph: onnx.GraphProto, manifest: Manifest) -> bytes:
    """The ONNX file's bytes: no time, no machine, no library version in it. Raises onnx.checker.ValidationError."""
    model = helper.make_model(
        graph,
        producer_name="gaugeline",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    helper.set_model_props(
        model, dict(sorted(manifest.to_metadata(graph.SerializeToString(deterministic=True)).items()))
    )
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content
