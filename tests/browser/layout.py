"""Measures in the browser whether anything is cut off, sticks out or lies over something else."""

from __future__ import annotations

from playwright.sync_api import Page

_MEASURE = """
() => {
  const faults = [];
  const name = (e) => `${e.tagName.toLowerCase()}${e.id ? '#' + e.id : ''}.${[...e.classList].join('.')}`
    + ` "${(e.textContent || '').trim().replace(/\\s+/g, ' ').slice(0, 40)}"`;
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) faults.push(`the page is ${root.scrollWidth} wide in ${root.clientWidth}`);
  const shown = (e) => {
    const style = getComputedStyle(e), box = e.getBoundingClientRect();
    return box.width > 0 && box.height > 0 && style.visibility !== 'hidden' && style.clipPath === 'none';
  };
  const all = [...document.querySelectorAll('header, header *, main, main *, footer, footer *')]
    .filter((e) => shown(e) && !e.closest('.uplot, svg, .visually-hidden') && !(e instanceof HTMLInputElement));
  for (const e of all) {
    const box = e.getBoundingClientRect();
    if (box.right > root.clientWidth + 0.5 || box.left < -0.5) faults.push(`sticks out of the page: ${name(e)}`);
    if (getComputedStyle(e).display !== 'inline' && e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0)
      faults.push(`${e.scrollWidth} wide in ${e.clientWidth}: ${name(e)}`);
    if (getComputedStyle(e).overflowY === 'hidden' && e.scrollHeight > e.clientHeight + 1 && e.clientHeight > 1)
      faults.push(`${e.scrollHeight} high in ${e.clientHeight}: ${name(e)}`);
  }
  // Neighbours of one parent may touch, but not cover each other.
  for (const parent of all) {
    const boxes = [...parent.children].filter((e) => all.includes(e) && getComputedStyle(e).position === 'static'
      && getComputedStyle(e).display !== 'inline').map((e) => [e, e.getBoundingClientRect()]);
    for (let i = 0; i < boxes.length; i++) for (let j = i + 1; j < boxes.length; j++) {
      const [a, p] = boxes[i], [b, q] = boxes[j];
      const wide = Math.min(p.right, q.right) - Math.max(p.left, q.left);
      const high = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
      if (wide > 1 && high > 1) faults.push(`${name(a)} lies over ${name(b)}`);
    }
  }
  return faults;
}
"""

_CONTRAST = """
() => {
  const channel = (c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const numbers = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const [r, g, b, a = 1] = numbers(getComputedStyle(e).backgroundColor);
      if (a === 1) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const faults = new Set();
  for (const e of document.querySelectorAll('header *, main *, footer *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || e.getBoundingClientRect().width === 0 || e.closest('.visually-hidden')) continue;
    const a = light(numbers(getComputedStyle(e).color)), b = light(ground(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) faults.add(`${ratio.toFixed(2)} ${e.className} "${e.textContent.trim().slice(0, 30)}"`);
  }
  return [...faults];
}
"""


def layout_faults(page: Page) -> list[str]:
    """Empty when nothing is cut off, sticks out or overlaps."""
    found: list[str] = page.evaluate(_MEASURE)
    return found


def contrast_faults(page: Page) -> list[str]:
    """Texts whose contrast with their ground is below WCAG 2.1's 4.5 to 1 (criterion 1.4.3)."""
    found: list[str] = page.evaluate(_CONTRAST)
    return found
