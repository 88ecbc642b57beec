"""Units of length as files write them, in millimetres."""

MM_PER_UNIT = {
    **dict.fromkeys(("pm", "picometer"), 1e-9),
    **dict.fromkeys(("å", "angstrom"), 1e-7),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-6),
    **dict.fromkeys(("um", "µm", "micron", "micrometer", "micrometre"), 1e-3),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1.0),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), 10.0),
    **dict.fromkeys(("m", "meter", "metre"), 1e3),
    **dict.fromkeys(("in", "inch", "inche"), 25.4),
}
"""Millimetres of the units that programs write, without the s of a plural."""


def mm_per(unit: str) -> float | None:
    """Return the millimetres of a unit; None of a word that is no unit of length, as `pixel`.

    >>> mm_per("Microns"), mm_per("mm"), mm_per("pixel")
    (0.001, 1.0, None)
    """
    name = unit.strip().lower().replace("\u03bc", "\u00b5").replace("\\u00b5", "\u00b5")
    return MM_PER_UNIT.get(name) or MM_PER_UNIT.get(name.removesuffix("s"))
