"""How far nothing stands in the way, for the directions around an eye: where the walk of a ray may begin.

Most rays of a frame cross the same empty columns first. Directions are sorted into wedges (of azimuth) and, within a
wedge, into bands (of slope). ``find_clear`` walks the columns under a wedge once, front to back, and notes for each
band the first *slab*, a row of columns across the larger horizontal axis, in which a ray of the band might meet
something. That serves all pixels of the wedge, and because it is a lower bound, the picture is the same as without.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit, uint64

from minestudio_nb.simulator.intrinsics import lowest_bit

F: Final = np.float32
ZERO, ONE = F(0), F(1)

BANDS: Final = 256
"""Entries per wedge. The first and the last stand for slopes beyond ``STEEPEST``: their rays begin at the eye."""
STEEPEST: Final = F(2.0)
"""The largest slope, height over distance along the larger axis, that has bands of its own."""
BANDS_PER_SLOPE: Final = F((BANDS - 2) / 4.0)
MOST_SLABS: Final = 255

# Sectors: the larger horizontal axis of a direction and its sign. Odd ones go towards smaller coordinates.
SECTOR_EAST: Final = 0  # +x
SECTOR_WEST: Final = 1
SECTOR_SOUTH: Final = 2  # +z
SECTOR_NORTH: Final = 3

_WIDER: Final = F(1e-3)  # wedges and bands are taken a little wider than they are, for rounding
_MARGIN: Final = F(0.02)
_BORROWING: Final = {"cache": True, "nogil": True, "fastmath": True, "error_model": "numpy", "_nrt": False}


@njit(**_BORROWING)
def _mark(clear, row, filled, slab, rise_low, rise_high, inv_near, inv_far):
    """Note that a slab holds something between two heights (relative to the eye).

    Returns:
        How many bands from below are taken now: ``filled``, or more.
    """
    low = rise_low * (inv_near if rise_low < ZERO else inv_far)
    high = rise_high * (inv_near if rise_high > ZERO else inv_far)
    if high <= -STEEPEST:
        return filled
    first = filled
    if low > -STEEPEST:
        first = max(np.int64((low + STEEPEST) * BANDS_PER_SLOPE - _MARGIN), filled)
    last = np.int64(min((high + STEEPEST) * BANDS_PER_SLOPE + _MARGIN, F(BANDS - 3)))
    for band in range(first, last + 1):
        clear[row + band] = min(clear[row + band], slab)
    return last + 1 if first == filled and last >= filled else filled


@njit(**_BORROWING)
def find_clear(masks, size_x, size_z, ox, oy, oz, top, slabs, wedge, wedges, clear):
    """Fill in one wedge.

    Args:
        masks: uint64[X * Z]; bit y of a column is set where a ray must look.
        ox, oz: the eye, shifted so that no coordinate within ``slabs`` is negative; oy: its height.
        top: height above which there is nothing.
        slabs: how many to look at, the eye's own included, up to ``MOST_SLABS``.
        wedge: which, in ``range(4 * wedges)``: sector by sector, from -1 to 1 along the smaller axis.
        wedges: per sector.
        clear: uint8[4 * wedges * BANDS]; the wedge's part is written: the number of slabs, counted from the eye's,
            that a ray may skip.
    """
    row = wedge * BANDS
    for band in range(BANDS):
        clear[row + band] = slabs
    clear[row] = clear[row + BANDS - 1] = 0
    row += 1
    sector = wedge // wedges
    left = F(wedge - sector * wedges) * F(2.0) / F(wedges) - ONE - _WIDER
    right = left + F(2.0) / F(wedges) + _WIDER + _WIDER
    along_x, forward = sector <= SECTOR_WEST, (sector & 1) == 0
    o_major, o_minor = (ox, oz) if along_x else (oz, ox)
    mask_major, mask_minor = (size_x - 1, size_z - 1) if along_x else (size_z - 1, size_x - 1)
    stride_major, stride_minor = (size_z, 1) if along_x else (1, size_z)
    major = np.int64(o_major)
    near, far = ZERO, F(major + 1) - o_major if forward else o_major - F(major)
    filled = 0  # bands that are taken, from below, and the slope at their upper edge
    horizon = -STEEPEST
    for slab in range(slabs):
        inv_near, inv_far = ONE / max(near, F(1e-6)), ONE / max(far, F(1e-6))
        rise = top - oy
        if rise * (inv_near if rise > ZERO else inv_far) < horizon:
            break
        lowest = 0  # the lowest cell that may show above what is taken
        if filled > 0:
            lowest = min(max(np.int64(oy + horizon * (near if horizon > ZERO else far)), 0), 63)
        base = (major & mask_major) * stride_major
        first = np.int64(o_minor + left * (far if left < ZERO else near))
        last = np.int64(o_minor + right * (far if right > ZERO else near))
        for minor in range(first, last + 1):
            mask = masks[uint64(base + (minor & mask_minor) * stride_minor)] >> uint64(lowest)
            y = lowest
            while mask != uint64(0):
                skip = lowest_bit(mask)
                y += skip
                mask >>= uint64(skip)
                run = lowest_bit(~mask)
                rise_low = F(y) - oy if y > lowest else F(-1e6)
                filled = _mark(clear, row, filled, slab, rise_low, F(y + run) - oy, inv_near, inv_far)
                if run >= 63:
                    break
                y += run
                mask >>= uint64(run)
        horizon = F(filled) / BANDS_PER_SLOPE - STEEPEST
        major += 1 if forward else -1
        near = far
        far += ONE
