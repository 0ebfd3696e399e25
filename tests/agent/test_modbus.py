"""The Modbus driver against real bytes on a pseudo-terminal and a socket."""

from __future__ import annotations

import asyncio
import random
import struct
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pymodbus.client import AsyncModbusSerialClient

from agent.driver import Span
from agent.drivers.modbus import ModbusDriver
from agent.drivers.ports import switch_rts
from agent.spec import LineSpec, RtsSpec
from tests.agent.slaves import RtuSlave, RtuTcpSlave, TcpSlave, bit, register, with_crc, words
from wire.errors import DeviceGarbled, DeviceRefused, DeviceSilent, FieldError, LineDown

TIMEOUT_S = 0.02  # of late devices, where it does not matter which answers come in time
FAST: dict[str, Any] = {"baud": 115200, "timeout_s": 0.5, "quiet_s": 0.005}


def rtu(slave: RtuSlave, **rest: Any) -> ModbusDriver:
    return ModbusDriver(LineSpec("bus", "modbus-rtu", **{"port": slave.port} | FAST | rest), lambda: 1234)


def any_rtu(slave: RtuSlave, **rest: Any) -> ModbusDriver:
    if not isinstance(slave, RtuTcpSlave):
        return rtu(slave, **rest)
    where = {"host": slave.host, "port": slave.tcp_port}
    return ModbusDriver(LineSpec("far", "modbus-rtu-tcp", **where | FAST | rest), lambda: 1234)


def tcp(slave: TcpSlave, **rest: Any) -> ModbusDriver:
    line = LineSpec("plc", "modbus-tcp", host=slave.host, port=slave.port, **{"timeout_s": 0.1} | rest)
    return ModbusDriver(line, lambda: 1234)


EVERY_TABLE = [Span("coil", 3, 11), Span("discrete", 0, 1), Span("input", 7, 5), Span("holding", 100, 125)]


async def test_every_table_over_rtu() -> None:
    async with RtuSlave() as slave:
        driver = rtu(slave, timeout_s=1.0, parity="E", baud=19200)
        await driver.open()
        for span in EVERY_TABLE:
            answer = await driver.read(1, span)
            assert list(answer.words) == words(span.table, span.address, span.count)
            assert answer.ts_ms == 1234
        await driver.close()


async def test_every_table_over_tcp() -> None:
    async with TcpSlave() as slave:
        driver = tcp(slave)
        await driver.open()
        for span in EVERY_TABLE:
            assert list((await driver.read(9, span)).words) == words(span.table, span.address, span.count)
        await driver.close()


async def test_every_table_over_rtu_over_tcp() -> None:
    async with RtuTcpSlave() as slave:
        driver = any_rtu(slave, timeout_s=1.0)
        await driver.open()
        for span in EVERY_TABLE:
            assert list((await driver.read(1, span)).words) == words(span.table, span.address, span.count)
        slave.drop()
        with pytest.raises(LineDown):
            await driver.read(1, EVERY_TABLE[0])
        await driver.open()
        assert list((await driver.read(1, Span("holding", 4, 2))).words) == words("holding", 4, 2)
        await driver.close()


async def test_an_answer_to_the_connection_before_is_not_taken_on_the_next() -> None:
    """The converter sends it to whoever is connected when it comes."""
    delays = [0.15]
    async with asyncio.timeout(60), RtuTcpSlave(lambda _: delays.pop() if delays else 0.0) as slave:
        driver = any_rtu(slave, timeout_s=0.05)
        await driver.open()
        with pytest.raises(DeviceSilent):
            await driver.read(1, Span("holding", 0, 2))
        await driver.open()
        read = 0
        while not read or not driver.late:  # the fence itself may time out behind the slow answer
            with suppress(DeviceSilent):
                answer = await driver.read(1, Span("holding", 50, 2))
                assert list(answer.words) == words("holding", 50, 2)
                read += 1
        await driver.close()


def late_device(seed: int, overtakes: bool = False, kind: type[RtuSlave] = RtuSlave, walled: bool = False) -> RtuSlave:
    """Answers late at random, in order: in time, a little late, up to eight time-outs late, or never.

    walled: refuses what reaches beyond five registers.
    """
    dice = random.Random(seed)

    def delay_s(_: int) -> float | None:
        roll = dice.random()
        if roll < 0.75:
            return dice.uniform(0.0, 0.3 * TIMEOUT_S)
        if roll < 0.87:
            return dice.uniform(TIMEOUT_S, 1.5 * TIMEOUT_S)
        return dice.uniform(1.5 * TIMEOUT_S, 8 * TIMEOUT_S) if roll < 0.97 else None

    def illegal(table: str, address: int, count: int) -> bool:
        return walled and address % 10 + count > 5

    return kind(delay_s, illegal, units=frozenset({1, 2}), overtakes=overtakes)


def any_request(dice: random.Random) -> tuple[int, Span]:
    table: Any = dice.choice(["holding", "holding", "input"])
    return dice.choice([1, 2]), Span(table, dice.choice([0, 10, 20, 30]), dice.choice([2, 2, 2, 5]))


async def test_late_answers_never_become_another_registers_value() -> None:
    """Six lines at once: waiting is most of it. The long run, 10,000 polls, is benchmarks/late_replies.py."""
    async with asyncio.TaskGroup() as lines:
        for overtakes, walled in ((False, False), (True, False), (True, True)):
            for kind in (RtuSlave, RtuTcpSlave):
                name = f"{kind.__name__} {overtakes} {walled}"
                lines.create_task(every_value_is_right(overtakes, kind, walled), name=name)


async def every_value_is_right(overtakes: bool, kind: type[RtuSlave], walled: bool) -> None:
    dice, right, failed = random.Random(5), 0, 0
    async with late_device(4, overtakes, kind, walled) as slave:
        driver = any_rtu(slave, timeout_s=TIMEOUT_S)
        await driver.open()
        for _ in range(300):
            unit_id, span = any_request(dice)
            try:
                answer = await driver.read(unit_id, span)
            except FieldError:
                failed += 1
            else:
                assert list(answer.words) == words(span.table, span.address, span.count)
                right += 1
        await driver.close()
    assert right > 50 and failed > 20 and driver.late > 20, f"{kind}, {overtakes}: the test must meet both kinds"


async def test_without_our_driver_the_same_device_gives_wrong_values() -> None:
    """What the fence is for: pymodbus alone takes late answers."""
    dice, wrong = random.Random(5), 0
    async with late_device(seed=4) as slave:
        client = AsyncModbusSerialClient(slave.port, baudrate=115200, retries=0, timeout=TIMEOUT_S, reconnect_delay=0)
        assert await client.connect()
        for _ in range(300):
            unit_id, span = any_request(dice)
            read = client.read_holding_registers if span.table == "holding" else client.read_input_registers
            try:
                answer = await read(span.address, count=span.count, device_id=unit_id)
            except Exception:  # noqa: BLE001  # whatever pymodbus raises is not a value
                continue
            wrong += answer.registers != words(span.table, span.address, span.count)
        client.close()
    assert wrong > 0


async def test_a_silent_unit_is_silent_and_a_refusing_one_refuses() -> None:
    async with RtuSlave(illegal=lambda table, address, count: address >= 100) as slave:
        driver = rtu(slave)
        await driver.open()
        with pytest.raises(DeviceSilent, match="unit 9: no answer within"):
            await driver.read(9, Span("input", 0, 1))
        with pytest.raises(DeviceRefused, match="exception 2") as caught:
            await driver.read(1, Span("input", 100, 1))
        assert caught.value.code == 2
        assert list((await driver.read(1, Span("input", 0, 1))).words) == [register("input", 0)]
        await driver.close()


@pytest.mark.parametrize(
    "twist",
    [
        lambda f: f[:-1] + bytes([f[-1] ^ 1]),
        lambda f: f[:-4],
        lambda f: with_crc(b"\x02" + f[1:-2]),
        lambda f: with_crc(bytes([f[0], 4]) + f[2:-2]),
        lambda f: with_crc(bytes([f[0], 3, 2]) + f[3:5]),
        lambda f: with_crc(bytes([f[0], 0x42]) + f[2:-2]),
        lambda f: b"\x55" * 100,
    ],
    ids=["crc", "cut short", "other unit", "other function", "other count", "unknown function", "noise"],
)
async def test_an_answer_that_is_not_the_answer_is_garbled(twist: Any) -> None:
    twists = [twist]
    async with RtuSlave(twist=lambda f: twists[0](f)) as slave:
        driver = rtu(slave)
        await driver.open()
        with pytest.raises(DeviceGarbled):
            await driver.read(1, Span("holding", 0, 4))
        twists[0] = lambda f: f
        assert list((await driver.read(1, Span("holding", 8, 4))).words) == words("holding", 8, 4)
        assert len(slave.requests) == 3, "one fence before the second read"
        await driver.close()


async def test_an_answer_in_pieces_is_put_together() -> None:
    async with RtuSlave() as slave:
        asked = asyncio.Event()

        def hold(frame: bytes) -> bytes:
            slave.later = frame  # type: ignore[attr-defined]
            asked.set()
            return b""

        slave.twist = hold
        driver = rtu(slave, timeout_s=1.0)
        await driver.open()
        read = asyncio.create_task(driver.read(1, Span("holding", 0, 4)))
        await asyncio.wait_for(asked.wait(), 60)
        for piece in (slave.later[:2], slave.later[2:6], slave.later[6:]):  # type: ignore[attr-defined]
            slave.say(piece)
            await asyncio.sleep(0.01)
        assert list((await read).words) == words("holding", 0, 4)
        await driver.close()


async def test_a_device_that_refuses_parts_of_a_value_still_comes_back_after_a_time_out() -> None:
    silent = [True]
    async with RtuSlave(lambda _: None if silent.pop() else 0.0, lambda t, a, n: t != "holding" or n != 2) as slave:
        driver = rtu(slave)
        silent[:] = [False] * 20 + [True]
        await driver.open()
        with pytest.raises(DeviceSilent):
            await driver.read(1, Span("holding", 0, 2))
        with pytest.raises(DeviceSilent):
            await driver.read(1, Span("holding", 0, 2))
        assert list((await driver.read(1, Span("holding", 0, 2))).words) == words("holding", 0, 2)
        await driver.close()


async def test_a_device_that_has_nothing_beyond_its_registers_is_read_all_the_same_after_a_fence() -> None:
    silent = [True]
    async with RtuSlave(lambda _: None if silent.pop() else 0.0, lambda t, a, n: a < 20 or a + n > 24) as slave:
        driver = rtu(slave, timeout_s=0.5)
        silent[:] = [False] * 40 + [True]
        await driver.open()
        with pytest.raises(DeviceSilent):
            await driver.read(1, Span("holding", 20, 4))
        for _ in range(2):
            assert list((await driver.read(1, Span("holding", 20, 4))).words) == words("holding", 20, 4)
        with pytest.raises(DeviceRefused):
            await driver.read(1, Span("holding", 30, 4))
        await driver.close()


async def test_a_port_that_cannot_switch_rts_says_what_to_do() -> None:
    async with RtuSlave() as slave:
        driver = rtu(slave, rts=RtsSpec())
        with pytest.raises(LineDown, match=r"cannot switch RTS for RS-485.*remove rts"):
            await driver.open()
        assert not driver.is_open


@pytest.mark.parametrize(("sending", "levels"), [("high", (True, False)), ("low", (False, True))])
def test_rts_is_switched_by_the_kernel(sending: Any, levels: tuple[bool, bool]) -> None:
    port = SimpleNamespace(rs485_mode=None)
    switch_rts("/dev/ttyAMA0", port, RtsSpec(sending, 0.001, 0.002))
    mode: Any = port.rs485_mode
    assert (mode.rts_level_for_tx, mode.rts_level_for_rx) == levels
    assert (mode.delay_before_tx, mode.delay_before_rx) == (0.001, 0.002)


async def test_a_link_by_id_is_as_good_as_the_port(tmp_path: Path) -> None:
    async with RtuSlave() as slave:
        link = tmp_path / "usb-FTDI_FT232R_USB_UART_A5069RR4-if00-port0"
        link.symlink_to(slave.port)
        driver = rtu(slave, port=str(link), parity="E")
        await driver.open()
        assert list((await driver.read(1, Span("input", 0, 1))).words) == [register("input", 0)]
        await driver.close()


async def test_a_port_that_is_pulled_out_is_line_down_at_once(tmp_path: Path) -> None:
    async with RtuSlave(lambda _: None) as slave:
        link = tmp_path / "bus"
        link.symlink_to(slave.port)
        driver = rtu(slave, port=str(link), timeout_s=60.0)
        await driver.open()
        read = asyncio.create_task(driver.read(1, Span("input", 0, 1)))
        await asyncio.sleep(0.05)
        slave.unplug()
        link.unlink()
        with pytest.raises(LineDown):
            async with asyncio.timeout(30):
                await read
        with pytest.raises(LineDown, match="no such port"):
            await driver.open()


async def test_ports_that_do_not_open_say_why(tmp_path: Path) -> None:
    plain = tmp_path / "file"
    plain.write_text("")
    for port, why in ((tmp_path / "none", "no such port"), (plain, "is no serial port"), (tmp_path, "dir")):
        driver = ModbusDriver(LineSpec("bus", "modbus-rtu", port=str(port)), lambda: 0)
        with pytest.raises(LineDown, match=why):
            await driver.open()
    async with RtuSlave() as slave:
        with pytest.raises(LineDown, match="baud"):
            await rtu(slave, baud=-5).open()
    closed = ModbusDriver(LineSpec("plc", "modbus-tcp", host="127.0.0.1", port=1), lambda: 0)
    with pytest.raises(LineDown, match=r"127\.0\.0\.1:1: cannot be reached"):
        await closed.open()
    with pytest.raises(LineDown, match="not open"):
        await closed.read(1, Span("input", 0, 1))
    with pytest.raises(LineDown, match="do not stream"):
        closed.stream()


async def test_late_tcp_answers_are_known_by_their_transaction_id() -> None:
    late: list[bytes] = []

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        if not late:
            late.append(TcpSlave.frame(request))
        else:
            writer.write(late[0] + TcpSlave.frame(request))

    async with TcpSlave(answer) as slave:
        driver = tcp(slave)
        await driver.open()
        with pytest.raises(DeviceSilent):
            await driver.read(1, Span("holding", 0, 2))
        assert list((await driver.read(1, Span("holding", 50, 2))).words) == words("holding", 50, 2)
        assert driver.late == 1
        await driver.close()


@pytest.mark.parametrize(
    ("twist", "fault"),
    [
        (lambda f: b"\0\0" + f[2:], DeviceGarbled),
        (lambda f: f[:6] + b"\x07" + f[7:], DeviceGarbled),
        (lambda f: f[:7] + b"\x04" + f[8:], DeviceGarbled),
        (lambda f: f[:4] + b"\0\x05" + f[6:8] + b"\x02" + f[9:11], DeviceGarbled),
        (lambda f: f[:2] + b"\0\x09" + f[4:], LineDown),
        (lambda f: f[:4] + b"\xff\xff" + f[6:], LineDown),
        (lambda f: f[:7] + b"\x80\x02", DeviceGarbled),
    ],
    ids=["no transaction", "other unit", "other function", "other count", "other protocol", "endless", "half refusal"],
)
async def test_a_tcp_answer_that_is_not_the_answer(twist: Any, fault: type[Exception]) -> None:
    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(twist(TcpSlave.frame(request)))

    async with TcpSlave(answer) as slave:
        driver = tcp(slave)
        await driver.open()
        with pytest.raises(fault):
            await driver.read(1, Span("holding", 0, 4))
        await driver.close()


async def test_half_a_tcp_answer_ends_the_connection_before_the_next_request() -> None:
    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(TcpSlave.frame(request)[:-3])

    async with TcpSlave(answer) as slave:
        driver = tcp(slave)
        await driver.open()
        with pytest.raises(DeviceGarbled, match="no whole answer"):
            await driver.read(1, Span("holding", 0, 4))
        with pytest.raises(LineDown, match="half an answer"):
            await driver.read(1, Span("holding", 0, 4))
        await driver.open()
        assert slave.connections == 2
        await driver.close()


async def test_a_dropped_connection_is_line_down_at_once() -> None:
    async with TcpSlave() as slave:

        async def drop(request: bytes, writer: asyncio.StreamWriter) -> None:
            slave.drop()

        slave._answer = drop
        driver = tcp(slave, timeout_s=60.0)
        await driver.open()
        async with asyncio.timeout(30):
            with pytest.raises(LineDown, match="connection was lost"):
                await driver.read(1, Span("holding", 0, 4))
        with pytest.raises(LineDown):
            await driver.read(1, Span("holding", 0, 4))


async def test_a_silent_tcp_device_keeps_its_connection() -> None:
    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        return

    async with TcpSlave(answer) as slave:
        driver = tcp(slave, timeout_s=0.02)
        await driver.open()
        for _ in range(8):
            with pytest.raises(DeviceSilent):
                await driver.read(1, Span("holding", 0, 4))
        assert slave.connections == 1
        await driver.close()


async def test_a_cancelled_read_passes_the_cancellation_and_leaves_the_line_safe() -> None:
    async with RtuSlave(lambda _: 0.05) as slave:
        driver = rtu(slave, timeout_s=1.0)
        await driver.open()
        read = asyncio.create_task(driver.read(1, Span("holding", 0, 2)))
        await asyncio.sleep(0.02)
        read.cancel()
        with pytest.raises(asyncio.CancelledError):
            await read
        assert list((await driver.read(1, Span("holding", 50, 2))).words) == words("holding", 50, 2)
        await driver.close()


def test_the_slave_itself_is_right() -> None:
    """Its bytes against the specification's own example (Modbus Application Protocol v1.1b3, section 6.1, coils)."""
    assert struct.pack(">H", 0xCD6B)[0] == sum(v << i for i, v in enumerate([1, 0, 1, 1, 0, 0, 1, 1]))
    assert {bit("coil", i) for i in range(50)} == {0, 1}
    assert len({register(t, a) for t in ("input", "holding") for a in range(200)}) == 400


async def test_a_cancellation_that_meets_the_answer_ends_the_read() -> None:
    async with TcpSlave() as slave:
        reading: list[asyncio.Task[Any]] = []

        def clock() -> int:  # called when an answer has come, before pymodbus hands it out
            reading[0].cancel()
            return 1234

        driver = ModbusDriver(LineSpec("plc", "modbus-tcp", host=slave.host, port=slave.port), clock)
        await driver.open()
        reading.append(asyncio.create_task(driver.read(1, Span("holding", 0, 2))))
        with pytest.raises(asyncio.CancelledError):
            await reading[0]
        await driver.close()
