"""Files of a run: HDF5 written by all ranks together, readable as netCDF-4, with provenance.

What lives here: layout, attributes, parallel writing. What may not: how quantities are computed.
"""
