"""A drawing of memory over time: one SVG, a line per process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WIDTH, HEIGHT, LEFT, BELOW = 800, 300, 50, 30
COLOURS = {"gateway": "#c0392b", "host": "#2471a3", "simulator": "#1e8449", "broker": "#7d3c98"}


def memory_svg(memory: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """memory: process -> (second, MB). A host that was started again is a new process with a line of its own."""
    last_s = max(each[-1][0] for each in memory.values())
    most_mb = 1.1 * max(mb for each in memory.values() for _, mb in each)
    lines = []
    for name, samples in memory.items():
        step = max(1, len(samples) // WIDTH)
        points = " ".join(
            f"{LEFT + second / last_s * (WIDTH - LEFT - 10):.1f},{(HEIGHT - BELOW) * (1 - mb / most_mb):.1f}"
            for second, mb in samples[::step]
        )
        colour = COLOURS[name.partition("-")[0]]
        lines.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{points}"/>')
    for at, (name, colour) in enumerate(COLOURS.items()):
        lines.append(f'<text x="{LEFT + 10 + 90 * at}" y="{HEIGHT - 5}" fill="{colour}">{name}</text>')
    for part in (0.0, 0.25, 0.5, 0.75):
        y = (HEIGHT - BELOW) * (1 - part)
        lines.append(f'<line x1="{LEFT}" x2="{WIDTH - 10}" y1="{y:.0f}" y2="{y:.0f}" stroke="#ccc"/>')
        lines.append(f'<text x="2" y="{y:.0f}">{most_mb * part:.0f} MB</text>')
    lines.append(f'<text x="{WIDTH - 10}" y="{HEIGHT - 5}" text-anchor="end">{last_s / 60:.0f} min</text>')
    style = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {style}>\n' + "\n".join(lines) + "\n</svg>\n"
