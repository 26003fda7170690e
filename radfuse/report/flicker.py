"""Two pictures that take turns: where the two scans lie on each other, nothing jumps."""

from __future__ import annotations

import io

SHOWN_MS = 700


def animated_png(frames: tuple[bytes, bytes]) -> bytes:
    """Make one PNG of two of one size, which take turns for ever; a viewer that knows no animation shows the first."""
    from PIL import Image

    first, second = (Image.open(io.BytesIO(frame)).convert("RGB") for frame in frames)
    buffer = io.BytesIO()
    first.save(buffer, "png", save_all=True, append_images=[second], duration=SHOWN_MS, loop=0, optimize=True)
    return buffer.getvalue()
