"""From a run's file to a plot: python inputs/plot_example.py RUN PICTURE (needs xarray and h5netcdf)."""

import sys

import xarray
from matplotlib import pyplot

run, picture = sys.argv[1:]
series = xarray.open_dataset(f"{run}/series.h5", engine="h5netcdf")
late = series.diffusion.sel(time=slice(1, None))  # ps
late.plot.line(x="time", hue="valley")  # the file knows its axes, names and units
pyplot.axhline(0, color="0.7")
pyplot.title(f"smallest D of KK: {float(late.sel(valley='KK').min()):.3g} cm²/s")
pyplot.savefig(picture)
