"""Missing values, the hour of the day, signatures, thresholds of choice: what a gateway may meet in a model's file."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from onnx import helper

from gateway.model_key import verifier
from models import manifest, runtime
from models.export import export
from tests.models.small import MANIFEST, largest, write
from wire.errors import ConfigError, ModelError


def test_a_model_that_takes_missing_values_scores_the_rest_and_says_what_was_missing(tmp_path: Path) -> None:
    running = runtime.load(write(tmp_path / "m.onnx")).start()
    score = running.score(np.array([np.nan, 3.0]))
    assert score.score == 3.0
    assert np.isnan(score.shares[0]) and score.shares[1] == pytest.approx(1.0, abs=1e-5)
    assert np.isnan(score.deviations[0])
    assert np.isnan(running.score(np.array([np.nan, np.nan])).score)
    assert np.isnan(running.score(np.array([np.inf, 1.0])).score)


def test_a_model_that_judges_by_the_hour_gets_it(tmp_path: Path) -> None:
    model = runtime.load(write(tmp_path / "m.onnx", clock=True))
    assert model.wants_clock
    assert model.start().score(np.array([1.0, 0.0]), (7200.0, 3.0)).score == pytest.approx(1 + 2 + 300)


def test_the_threshold_of_choice_is_what_raises_the_alarm(tmp_path: Path) -> None:
    model = runtime.load(write(tmp_path / "m.onnx"))
    row = np.array([7.0, 0.0])
    for threshold, raised in ((None, True), (8.0, False), (6.5, True)):
        running = model.start(threshold)
        scores = [running.score(row) for _ in range(3)]
        assert scores[-1].anomaly is raised
        assert scores[-1].threshold == (5.0 if threshold is None else threshold)


def test_a_rate_between_the_points_of_the_curve_gives_a_threshold_between(tmp_path: Path) -> None:
    said = manifest.read(write(tmp_path / "m.onnx"))
    assert said.threshold_for(100) == 4.0
    assert said.threshold_for(1_000) == pytest.approx(5.0)
    assert said.threshold_for(10_000) == pytest.approx(6.0)
    assert said.threshold_for(10**2.5) == pytest.approx(4.5)
    slow = replace(said, period_s=10.0)
    assert slow.threshold_for(10_000) == pytest.approx(5.0)


@pytest.mark.parametrize("every_s", [99, 10_001])
def test_a_rate_outside_of_the_curve_is_refused_with_what_is_possible(every_s: float) -> None:
    with pytest.raises(ModelError, match=r"one false alarm in 100 seconds to 2\.78 hours; one in .* is outside"):
        MANIFEST.threshold_for(every_s)


def test_a_model_without_a_curve_says_so() -> None:
    bare = replace(MANIFEST, false_alarms=replace(MANIFEST.false_alarms, curve=()))
    with pytest.raises(ModelError, match="holds no calibration curve: leave false_alarms out"):
        bare.threshold_for(1_000)


def test_a_curve_that_falls_is_refused() -> None:
    curve = MANIFEST.false_alarms.curve[::-1]
    odd = replace(MANIFEST, false_alarms=replace(MANIFEST.false_alarms, curve=curve))
    with pytest.raises(ModelError, match="curve must rise"):
        manifest.Manifest.from_metadata(odd.to_metadata(b"g"), b"g", "m.onnx")


def sealed(graph: onnx.GraphProto, file: Path) -> Path:
    """A file of a graph that the exporter itself would not let pass."""
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, MANIFEST.to_metadata(graph.SerializeToString(deterministic=True)))
    file.write_bytes(model.SerializeToString(deterministic=True))
    return file


def test_a_graph_that_fails_at_its_first_row_is_refused_at_loading(tmp_path: Path) -> None:
    graph = largest()
    graph.node.append(helper.make_node("Reshape", ["row", "into"], ["three"]))
    graph.node.append(helper.make_node("Add", ["three", "x"], ["x_next"]))
    graph.initializer.append(helper.make_tensor("into", onnx.TensorProto.INT64, [1], [3]))
    graph.input.append(helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [3]))
    graph.output.append(helper.make_tensor_value_info("x_next", onnx.TensorProto.FLOAT, [3]))
    with pytest.raises(ModelError, match=r"model small cannot be run: .*Reshape"):
        runtime.load(sealed(graph, tmp_path / "m.onnx"))


def test_shapes_and_types_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    graph = largest()
    graph.node.append(helper.make_node("Concat", ["row", "row"], ["expected"], axis=0))
    graph.output.append(helper.make_tensor_value_info("expected", onnx.TensorProto.FLOAT, [4]))
    with pytest.raises(ModelError, match="its graph gives expected in another shape than is needed"):
        runtime.load(sealed(graph, tmp_path / "m.onnx"))
    graph = largest()
    graph.node.append(helper.make_node("Cast", ["row"], ["expected"], to=onnx.TensorProto.DOUBLE))
    graph.output.append(helper.make_tensor_value_info("expected", onnx.TensorProto.DOUBLE, [2]))
    with pytest.raises(ModelError, match="must take and give float32 only"):
        runtime.load(sealed(graph, tmp_path / "m.onnx"))


def key_files(folder: Path) -> tuple[Ed25519PrivateKey, Path]:
    key = Ed25519PrivateKey.generate()
    public = folder / "key.pem"
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return key, public


def signed(folder: Path, key: Ed25519PrivateKey) -> Path:
    plain = write(folder / "plain.onnx").read_bytes()
    seal = manifest.signed_part(plain, "plain.onnx")
    return write(folder / "m.onnx", signature="ed25519:" + base64.b64encode(key.sign(seal)).decode())


def test_where_a_key_is_trusted_only_what_it_signed_is_loaded(tmp_path: Path) -> None:
    key, public = key_files(tmp_path)
    verify = verifier(public)
    assert runtime.load(signed(tmp_path, key), verify).manifest.signature.startswith("ed25519:")
    with pytest.raises(ModelError, match="not signed, and this machine takes only models that its key has signed"):
        runtime.load(tmp_path / "plain.onnx", verify)
    with pytest.raises(ModelError, match="its signature is not one of the key"):
        runtime.load(signed(tmp_path, Ed25519PrivateKey.generate()), verify)
    other = replace(MANIFEST, threshold=1.0, signature=manifest.read(signed(tmp_path, key)).signature)
    (tmp_path / "changed.onnx").write_bytes(export(largest(), other))
    with pytest.raises(ModelError, match="its signature is not one of the key"):
        runtime.load(tmp_path / "changed.onnx", verify)
    for word in ("rsa:abc", "ed25519:no base64"):
        with pytest.raises(ModelError, match="its signature is not one of the key"):
            runtime.load(write(tmp_path / "odd.onnx", signature=word), verify)


def test_a_key_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        verifier(tmp_path / "gone.pem")
    (tmp_path / "x.pem").write_text("hello")
    with pytest.raises(ConfigError, match="holds no public key"):
        verifier(tmp_path / "x.pem")
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    (tmp_path / "ec.pem").write_bytes(curve.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(ConfigError, match="must be an Ed25519 key"):
        verifier(tmp_path / "ec.pem")
