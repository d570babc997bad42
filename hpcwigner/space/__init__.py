"""The sample as uniform cells in one or two dimensions, their distribution over ranks, ghost cells, and the upwind stencil of
the drift with its accuracy and stability. Nothing here knows materials, rates or terms.
"""
