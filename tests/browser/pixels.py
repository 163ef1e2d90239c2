"""What is on a canvas or a picture, told by its pixels. Must not know: what should be there."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator

_COUNT = """canvas => {
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let count = 0;
  for (let alpha = 3; alpha < data.length; alpha += 4) if (data[alpha]) count++;
  return count;
}"""
_COLORS = """(canvas, [top, bottom]) => {
  const height = (bottom ?? canvas.height) - top;
  const { data } = canvas.getContext('2d').getImageData(0, top, canvas.width, height);
  const counts = {};
  for (let at = 0; at < data.length; at += 4) {
    if (data[at + 3] < 255) continue;
    const color = '#' + [0, 1, 2].map((n) => data[at + n].toString(16).padStart(2, '0')).join('');
    counts[color] = (counts[color] ?? 0) + 1;
  }
  return counts;
}"""
_HASH = """canvas => {
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let hash = 0x811c9dc5;  // FNV-1a
  for (const byte of data) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}"""

_DRAWN = """async (image) => {
  await image.decode();
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  canvas.getContext('2d').drawImage(image, 0, 0);
  return (%s)(canvas, [0, null]);
}"""


def nontransparent_pixels(canvas: Locator) -> int:
    """How many pixels of a canvas have been drawn on."""
    return int(canvas.evaluate(_COUNT))


def colors(canvas: Locator, top: int = 0, bottom: int | None = None) -> dict[str, int]:
    """How many opaque pixels there are of each colour, ``{"#0072b2": 12}``; of those rows."""
    found: dict[str, Any] = canvas.evaluate(_COLORS, [top, bottom])
    return found


def image_colors(image: Locator) -> dict[str, int]:
    """The same of an ``img``; playwright's Error if it has no picture."""
    found: dict[str, Any] = image.evaluate(_DRAWN % _COLORS)
    return found


def fingerprint(canvas: Locator) -> int:
    """A number that changes with any pixel."""
    return int(canvas.evaluate(_HASH))
