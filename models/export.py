"""From a graph and its description to the bytes of one file, the same each time."""

from __future__ import annotations

from typing import Protocol

import onnx
from onnx import helper

# Pinned: old enough for every onnxruntime that we allow, new enough for ReduceSum with axes as an input.
OPSET, IR_VERSION = 17, 8


class Described(Protocol):
    """What a file says of itself: a Manifest, or a LifeManifest."""

    def to_metadata(self, graph: bytes) -> dict[str, str]:
        """The pairs for metadata_props. graph: the serialised GraphProto."""


def export(graph: onnx.GraphProto, manifest: Described) -> bytes:
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
