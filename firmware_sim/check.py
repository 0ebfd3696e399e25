"""What a scenario would run, without running it: every device built, every line with its devices."""

from __future__ import annotations

from collections.abc import Iterator

from firmware_sim.devices import build
from firmware_sim.lines import NetworkLine, SerialLine
from firmware_sim.scenario import Scenario
from firmware_sim.simulation import Simulation
from firmware_sim.truth import Truth


def report(scenario: Scenario) -> Iterator[str]:
    """One line of text each. Raises ScenarioError when a device or a fault cannot be."""
    Simulation(scenario, Truth(None)).prepare()
    yield f"{scenario.name}: seed {scenario.seed}, speed {scenario.speed:g}"
    for line in scenario.lines:
        if isinstance(line, NetworkLine):
            where = f"{line.host}:{line.port or 'a free port'}"
        else:
            assert isinstance(line, SerialLine)
            where = f"{line.port or 'a path of its own'} {getattr(line, 'baud', '')} {line.parity}{line.stop_bits}"
        yield f"line {line.name}  {line.kind}  {where}"
        for each in scenario.devices:
            if each.line == line.name:
                signals = build(each, scenario.seed).signals
                writable = sum(signal.writable for signal in signals)
                more = f", {writable} writable" if writable else ""
                yield f"  {each.id}  {each.model}, unit id {each.unit_id}, {len(signals)} signals{more}"
    for fault in scenario.faults:
        if fault.rate_per_h is not None:
            when = f"{fault.rate_per_h:g} times an hour for {fault.for_s:g} s"
        else:
            again = f", every {fault.every_s:g} s" if fault.every_s is not None else ""
            when = f"at {fault.at_s:g} s for {fault.for_s:g} s{again}"
        share = f", each answer with probability {fault.chance:g}" if fault.chance < 1 else ""
        yield f"fault {fault.kind}  {fault.device}  {when}{share}"
