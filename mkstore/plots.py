"""Plots as SVG files that are the same for the same figures."""


def use_svg() -> None:
    """Let matplotlib write SVG whose ids do not change from run to run; call it before a figure is made."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to import, and only needed at the end of a run

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "mkstore"
