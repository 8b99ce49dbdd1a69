"""Dots are placed so that none hides another."""

from collections.abc import Sequence


def offsets(positions: Sequence[float], diameter: float, most: float) -> list[float]:
    """Return the sideways shift of each dot: the least at which it touches no dot before it.

    Args:
        positions: along the axis, in any unit.
        diameter: of a dot, in that unit.
        most: the shift allowed to either side; a swarm that is wider is squeezed into it, and its dots overlap.
    """
    shifts = [0.0] * len(positions)
    placed: list[tuple[float, float]] = []
    for at in sorted(range(len(positions)), key=lambda at: positions[at]):
        here = positions[at]
        near = [(x, y) for x, y in placed if here - x < diameter]
        # On the rim of a dot nearby, or on the line itself.
        rims = [y + side * (diameter**2 - (here - x) ** 2) ** 0.5 for x, y in near for side in (1, -1)]
        free = [y for y in (0.0, *rims) if all((here - a) ** 2 + (y - b) ** 2 >= diameter**2 * 0.999 for a, b in near)]
        shifts[at] = min(free, key=lambda y: (abs(y), y))
        placed.append((here, shifts[at]))
    widest = max((abs(shift) for shift in shifts), default=0.0)
    return [shift * min(1.0, most / widest) for shift in shifts] if widest else shifts
