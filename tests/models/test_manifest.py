"""What a file says of itself, and what happens when it says nothing or nonsense."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from models import manifest, runtime
from models.export import export
from models.manifest import MANIFEST_KEY, SEAL_KEY, Manifest, seal
from models.train import Trained
from wire.errors import ModelError

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_a_file_tells_what_was_put_into_it(model_file: Path, trained: Trained) -> None:
    assert manifest.read(model_file) == trained.manifest
    said = trained.manifest
    assert said.input_names == ("flow", "pressure", "current")
    assert [each.unit for each in said.inputs] == ["m3/h", "bar", "A"]
    assert said.signature == ""
    assert said.false_alarms.statement == "one false alarm per 5000 rows"


def test_the_signature_has_its_own_place(trained: Trained) -> None:
    signed = replace(trained.manifest, signature="ed25519:abc")
    metadata = signed.to_metadata(b"graph")
    assert metadata[MANIFEST_KEY] == trained.manifest.to_metadata(b"graph")[MANIFEST_KEY]
    assert Manifest.from_metadata(metadata, b"graph", "m.onnx") == signed


def test_onnx_own_reader_sees_the_same_description(model_file: Path) -> None:
    model = onnx.load(model_file)
    pairs = {each.key: each.value for each in model.metadata_props}
    graph = model.graph.SerializeToString(deterministic=True)
    assert Manifest.from_metadata(pairs, graph, "m.onnx") == manifest.read(model_file)


@quick
@given(data=st.data())
def test_every_truncated_file_is_refused(data: st.DataObject, model_file: Path, tmp_path: Path) -> None:
    content = model_file.read_bytes()
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(ModelError, match=r"cut\.onnx: "):
        manifest.read(cut)


@quick
@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_one_flipped_bit_never_gives_another_model(at: int, bit: int, model_file: Path, tmp_path: Path) -> None:
    content = bytearray(model_file.read_bytes())
    content[at % len(content)] ^= 1 << bit
    file = tmp_path / "flipped.onnx"
    file.write_bytes(content)
    try:
        model = runtime.load(file)
    except ModelError:
        return
    # A bit outside of graph and description: version numbers, the producer's name, the (empty) signature.
    row = np.array([40.0, 6.0, 11.0])
    assert replace(model.manifest, signature="") == manifest.read(model_file)
    assert model.start().score(row).score == runtime.load(model_file).start().score(row).score


@quick
@given(content=st.binary(max_size=400))
def test_bytes_of_any_kind_are_refused_in_words(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "any.onnx"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=r"any\.onnx: "):
        manifest.read(file)


def test_a_foreign_onnx_file_is_named_as_such(model_file: Path, tmp_path: Path) -> None:
    foreign = onnx.load(model_file)
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(ModelError, match="not one of ours"):
        runtime.load(tmp_path / "foreign.onnx")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.onnx: cannot be read: No such file"):
        manifest.read(tmp_path / "gone.onnx")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"format": "gaugeline-model/9"}, "another version"),
        ({"inputs": []}, "no inputs"),
        ({"inputs": [{"name": "a"}]}, "damaged"),
        ({"threshold": 0}, "threshold must be above 0"),
        ({"period_s": "soon"}, "damaged"),
        ({"warm_up_rows": -1}, "warm_up_rows"),
        ({"alarm": {"raise_rows": 0}}, "raise_rows"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused(trained: Trained, change: dict[str, object], word: str) -> None:
    metadata = trained.manifest.to_metadata(b"graph")
    metadata[MANIFEST_KEY] = json.dumps({**json.loads(metadata[MANIFEST_KEY]), **change})
    metadata[SEAL_KEY] = seal(metadata[MANIFEST_KEY], b"graph")
    with pytest.raises(ModelError, match=word):
        Manifest.from_metadata(metadata, b"graph", "m.onnx")


def test_two_inputs_of_one_name_are_refused(trained: Trained) -> None:
    twice = replace(trained.manifest, inputs=(trained.manifest.inputs[0],) * 2)
    with pytest.raises(ModelError, match="two inputs"):
        Manifest.from_metadata(twice.to_metadata(b"graph"), b"graph", "m.onnx")


def test_a_graph_for_other_inputs_than_described_is_refused(trained: Trained, tmp_path: Path) -> None:
    fewer = replace(trained.manifest, inputs=trained.manifest.inputs[:2], missing=None)
    (tmp_path / "fewer.onnx").write_bytes(export(trained.detector.graph(), fewer))
    with pytest.raises(ModelError, match="does not take a row of the 2 inputs"):
        runtime.load(tmp_path / "fewer.onnx")


def resealed(model: onnx.ModelProto, trained: Trained) -> bytes:
    """The bytes of a changed graph that claims to be what was written."""
    helper.set_model_props(model, trained.manifest.to_metadata(model.graph.SerializeToString(deterministic=True)))
    return bytes(model.SerializeToString(deterministic=True))


def test_a_graph_without_shares_is_refused(trained: Trained, tmp_path: Path) -> None:
    model = onnx.load_from_string(trained.content)
    kept = [each for each in model.graph.output if each.name != "shares"]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    (tmp_path / "mute.onnx").write_bytes(resealed(model, trained))
    with pytest.raises(ModelError, match="does not give shares"):
        runtime.load(tmp_path / "mute.onnx")


def test_a_graph_that_onnxruntime_refuses_is_told(trained: Trained, tmp_path: Path) -> None:
    model = onnx.load_from_string(trained.content)
    model.graph.node[0].op_type = "NoSuchOperator"
    (tmp_path / "odd.onnx").write_bytes(resealed(model, trained))
    with pytest.raises(ModelError, match="onnxruntime cannot load it"):
        runtime.load(tmp_path / "odd.onnx")
