"""Edge nodes over time: asked for births, found twice, stale, forgotten."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from cloud.hearing import Hearing
from cloud.live import LiveValues
from cloud.nodes import HEARD_EVERY_MS, MOST_LEFT_OUT, Nodes
from cloud.rebirths import MOST_PER_S, SPREAD_MS, Rebirths
from cloud.stats import Stats
from cloud.twins import HOLD_MS, Twins
from tests.cloud.hosts import running, until
from tests.cloud.small_gateway import T0, SmallGateway, row, tags
from tests.servers import Mosquitto
from wire.delivery import BatchTag
from wire.host_events import Data, Event, Gone, LeftOut, NodeBorn, OldDeath
from wire.ids import NodeId

NODE = NodeId("plant", "gw-1")


def test_a_thousand_nodes_are_not_asked_for_their_births_at_once() -> None:
    rolled = iter(i / 1000 for i in range(1000))
    rebirths = Rebirths(lambda: next(rolled))
    nodes = [NodeId("plant", f"gw-{i}") for i in range(1000)]
    for node in nodes:
        rebirths.want(node, 0)
    asked = {now_ms: rebirths.due(now_ms) for now_ms in range(0, 60_000, 100)}
    assert max(map(len, asked.values())) <= MOST_PER_S / 5
    per_second = [sum(len(asked[t + i]) for i in range(0, 1000, 100)) for t in range(0, 60_000, 1000)]
    assert max(per_second) <= MOST_PER_S * 1.2
    last_ms = max(t for t, found in asked.items() if found)
    assert 1000 / MOST_PER_S <= last_ms / 1000 + 1 <= 1.5 * 1000 / MOST_PER_S + SPREAD_MS / 1000
    assert sorted(n for found in asked.values() for n in found) == sorted(nodes), "each of them once"
    rebirths.forget(nodes[0])


def live(epoch: str, number: int, historical: bool = False) -> Data:
    return Data(NODE, "pump", (), BatchTag(epoch, number, 0, "0" * 32), historical, True)


def born(bd_seq: int | None) -> NodeBorn:
    return NodeBorn(NODE, bd_seq, True, "gaugeline/1")


class TestTwins:
    def test_epochs_that_take_turns_are_two_gateways(self) -> None:
        twins = Twins()
        said = [live("a", 1), live("b", 1), live("a", 2), live("b", 2)]
        assert [twins.hear(e, i) for i, e in enumerate(said)] == [False, False, True, True]
        assert twins.alarmed(10) == {NODE}
        assert twins.alarmed(HOLD_MS + 10) == set(), "the alarm goes when no more signs come"
        twins.forget(NODE)
        assert twins.alarmed(10) == set()

    def test_a_backlog_a_repetition_and_a_restart_are_one_gateway(self) -> None:
        twins = Twins()
        said = [live("a", 1), live("a", 2), live("b", 1), live("a", 3, True), live("a", 2), live("a", 1), live("b", 2)]
        assert not any(twins.hear(e, i) for i, e in enumerate(said))
        assert not twins.hear(live("c", 1), 9)

    def test_one_sign_alone_is_no_alarm(self) -> None:
        twins = Twins()
        for e in (live("a", 1), live("b", 1), live("a", 2)):
            twins.hear(e, 1)
        assert twins.alarmed(2) == set()
        assert twins.hear(live("b", 2), 2 + HOLD_MS)
        assert twins.alarmed(2 + HOLD_MS) == set(), "and the other one is long ago"

    def test_sessions_that_take_turns_without_dying_are_two_nodes(self) -> None:
        twins = Twins()
        assert [twins.hear(born(b), 0) for b in (7, 3, 7, 3)] == [False, False, True, True]
        assert twins.alarmed(1) == {NODE}

    def test_sessions_that_die_before_they_come_again_are_one_node(self) -> None:
        twins = Twins()
        said: list[Event] = [born(0), born(1), OldDeath(NODE, 0), born(0), OldDeath(NODE, 1), Gone(NODE, None)]
        said += [born(1), OldDeath(NODE, None), born(None), Gone(NODE, "pump")]
        assert not any(twins.hear(e, 0) for e in said)

    def test_nodes_and_epochs_are_not_remembered_without_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("cloud.twins.MOST_NODES", 2)
        twins = Twins()
        for name in "abc":
            twins.hear(NodeBorn(NodeId("g", name), 1, False, ""), 0)
        for i in range(100):
            twins.hear(live(f"e{i}", 1), 0)
            twins.hear(born(i), 0)
        assert not twins.hear(live("e0", 2), 0), "too long ago to be known"


def test_what_is_known_of_a_node_is_written_down_when_it_changes() -> None:
    nodes = Nodes()
    nodes.hear(born(3), 1_000)
    assert nodes.reborn == {NODE}
    first = nodes.unwritten()
    nodes.hear(LeftOut(NODE, "pump", tuple((f"t{i}", "Template") for i in range(200))), 2_000)
    nodes.written(first)
    assert nodes.unwritten(), "it changed while it was written"
    nodes.written(nodes.unwritten())
    nodes.hear(live("a", 1), 3_000)
    assert nodes.unwritten() == {}, "that it was heard is not written at once"
    nodes.hear(live("a", 2), 3_000 + HEARD_EVERY_MS)
    content = nodes.unwritten()[NODE]
    assert (content["heard_ms"], content["since_ms"], content["bd_seq"]) == (603_000, 1_000, 3)
    assert len(content["left_out"]) == MOST_LEFT_OUT

    again = Nodes()
    again.restore({NODE: json.loads(json.dumps(content)), NodeId("old", "x"): {"heard_ms": 5}})
    assert (again.known[NODE].alive, again.known[NODE].since_ms) == (False, 603_000)
    assert again.silent(10) == [NodeId("old", "x")]
    again.forget(NodeId("old", "x"))
    assert again.silent(10) == []


def test_an_alarm_of_two_gateways_comes_and_goes() -> None:
    hearing = Hearing(LiveValues(), stats := Stats(started_s=0))
    rebirths = Rebirths(lambda: 0.0)
    for i, event in enumerate([live("a", 1), live("b", 1), live("a", 2), live("b", 2)]):
        hearing.take(event, lambda _: True, rebirths, i)
    for _ in range(2):
        hearing.alarms(10)
        assert [p[:44] for p in stats.problems.values()] == ["two gateways call themselves plant/gw-1: giv"]
    hearing.alarms(10 + HOLD_MS)
    assert stats.problems == {}
    assert (stats.counters["duplicate_ids"], hearing.figures[NODE, "duplicate_ids"]) == (2, 2)


async def test_nodes_that_are_gone_for_long_are_forgotten_unless_their_balance_is_open(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    now = [T0]
    names = ("even", "open", "here")
    gateways = {name: SmallGateway(NodeId("plant", name), tags("pump-1")) for name in names}
    async with running(tmp_path, mosquitto.port, clock=lambda: now[0]) as host:
        for name, gw in gateways.items():
            async with gw.connected(mosquitto.port):
                await gw.publish(gw.put("pump-1", [row(T0, 1.0)]))
                await until(lambda gw=gw: gw.confirmed == {1})  # type: ignore[misc]
                if name == "open":
                    gw.put("pump-1", [row(T0 + 1, 1.0)])  # stays in the outbox
                await host.balance_after(gw)
        known = host.desk.nodes.known
        await until(lambda: not any(seen.alive for seen in known.values()))
        assert {n["node"]: n["state"] for n in host.desk.all_nodes()} == {f"plant/{n}": "stale" for n in names}
        now[0] += 3_600_000
        assert await host.forgetting.once() == [], "a day must pass"
        async with asyncio.timeout(60):
            while len(await host.state.births()) < 3:  # written down every two seconds
                await asyncio.sleep(0.1)
        async with gateways["here"].connected(mosquitto.port):
            now[0] += 100 * 86_400_000
            await gateways["here"].births()
            await until(lambda: known[NodeId("plant", "here")].alive)
            assert await host.forgetting.once() == [NodeId("plant", "even")]
        assert set(known) == {NodeId("plant", "open"), NodeId("plant", "here")}
        assert {node.node for node, _ in await host.state.births()} == {"open", "here"}
        assert {a.node.node for a in host.host.live.assets()} == {"open", "here"}
        assert {n.node for n in await host.state.nodes()} == {"open", "here"}
        balance = await host.balance()
        assert balance.gateways[NodeId("plant", "even")].stored == 1, "not a sample is forgotten"


async def test_invented_nodes_go_first(tmp_path: Path, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.forgetting.MOST_KNOWN", 3)
    now = [T0]
    async with running(tmp_path, mosquitto.port, clock=lambda: now[0]) as host:
        for i in range(6):
            host.desk.nodes.hear(NodeBorn(NodeId("invented", str(i)), 0, False, ""), T0 + i)
        host.desk.nodes.gone(list(host.desk.nodes.known), T0 + 10)
        now[0] += 4_000_000
        assert [n.node for n in await host.forgetting.once()] == ["0", "1", "2"]
        assert await host.forgetting.once() == []
