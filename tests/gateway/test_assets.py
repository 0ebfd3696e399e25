"""Assets hold devices, or single tags of several devices and lines; each tag belongs to one at most."""

from __future__ import annotations

from pathlib import Path

from agent.score import Scorers
from gateway.births import BirthBook, Latest
from gateway.config import Site, load_site
from gateway.reload import site_tags
from models.runtime import load, resolve

HEAD = """\
group: g
gateway: w
broker: mqtt://127.0.0.1
lines:
  - {name: plc, driver: modbus-tcp, host: 127.0.0.1}
  - {name: far, driver: modbus-tcp, host: 127.0.0.2}
devices:
"""


def site(folder: Path, rest: str) -> Site:
    path = folder / "site.yaml"
    path.write_text(HEAD + rest)
    return load_site(path)


SHARED = """\
  - id: hall
    line: plc
    tags:
      - {name: flow, table: holding, address: 0}
      - {name: heat, table: holding, address: 1}
      - {name: gain, expression: "heat - 'tank/level'"}
      - {name: loss, expression: "heat + flow"}
      - {name: status, table: holding, address: 2, bits: {0: hot, 1: cold}}
  - {id: tank, line: far, tags: [{name: level, table: holding, address: 0}, {name: lid, table: coil, address: 0}]}
assets:
  - {id: boiler, name: Boiler 1, kind: machine, tags: [hall/heat, hall/gain, hall/status, tank/level]}
  - {id: lamp, tags: [hall/status/cold]}
  - {id: rest, devices: [hall]}
"""


def test_a_named_tag_leaves_the_asset_of_its_device_and_the_others_stay(tmp_path: Path) -> None:
    loaded = site(tmp_path, SHARED)
    owner = {(d.id, tag.name): tag.asset for d in loaded.devices for tag in d.tags}
    assert owner == {
        ("hall", "flow"): "rest", ("hall", "heat"): "boiler", ("hall", "gain"): "boiler", ("hall", "loss"): "rest",
        ("hall", "status"): "boiler", ("hall", "status/hot"): "boiler", ("hall", "status/cold"): "lamp",
        ("tank", "level"): "boiler", ("tank", "lid"): "",
    }  # fmt: skip
    for asset in loaded.assets:
        assert sorted(asset.tags) == sorted(key for key, of in owner.items() if of == asset.id)
    (gain, _) = loaded.devices[0].derived
    assert gain.inputs == (("hall", "heat"), ("tank", "level")), "an expression may name tags of its own asset"


def test_the_birth_says_the_asset_of_each_tag(tmp_path: Path) -> None:
    loaded = site(tmp_path, SHARED)
    tags = site_tags(loaded, [])
    aliases = {device: {tag.name: i for i, tag in enumerate(found)} for device, found in tags.items()}
    book = BirthBook(tags, {spec.id: spec.asset for spec in loaded.assets}, aliases, Latest())
    said = {metric.name: metric.properties for metric in book.alive("hall", (), 1).metrics}
    assert said["heat"] == {"asset": "boiler", "assetName": "Boiler 1", "assetKind": "machine"}
    assert (said["flow"]["asset"], said["gain"]["asset"], said["status/cold"]["asset"]) == ("rest", "boiler", "lamp")
    assert {m.name: m.properties for m in book.alive("tank", (), 1).metrics}["lid"] == {}


def test_a_model_finds_its_inputs_over_devices_and_lines(tmp_path: Path) -> None:
    """Two machines on one controller, each with a sensor on another line; the model's names are only unique in each."""
    inputs = load(resolve("demo_machine", tmp_path)).manifest.inputs
    first, *others = inputs
    devices = "".join(
        f"  - id: plc-{m}\n    line: plc\n    unit_id: {m}\n    period_s: 0.1\n    tags:\n"
        + "".join(
            f'      - {{name: {i.name}, table: holding, address: {2 * n}, type: float32, unit: "{i.unit}"}}\n'
            for n, i in enumerate(others)
        )
        + f"  - id: sensor-{m}\n    line: far\n    unit_id: {m}\n    period_s: 0.1\n    tags:\n"
        + f'      - {{name: {first.name}, table: holding, address: 0, type: float32, unit: "{first.unit}"}}\n'
        for m in (1, 2)
    )
    assets = "assets:\n" + "".join(
        f"  - {{id: machine-{m}, model: demo_machine, tags: [sensor-{m}/{first.name}"
        + "".join(f", plc-{m}/{i.name}" for i in others)
        + "]}\n"
        for m in (1, 2)
    )
    loaded = site(tmp_path, devices + assets)
    scorers = Scorers(loaded.assets, loaded.lines)
    assert scorers.problems() == []
    assert {tag.device for tag in scorers.tags()} == {"machine-1", "machine-2"}
