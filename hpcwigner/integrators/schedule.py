"""The steps of a run with the polynomials of its sources, computed beforehand."""

from collections.abc import Sequence

import numpy as np

from hpcwigner.integrators.steps import StepPlan
from hpcwigner.runtime.arrays import Array
from hpcwigner.terms.term import Source

NEGLIGIBLE_SOURCE = 1e-30  # Steps that form less than this part of all excitons have no source


class Schedule:
    """The planned steps and the sources' polynomials in each of them, in plain numbers."""

    def __init__(self, plan: StepPlan, sources: Sequence[Source], first: int = 0) -> None:
        """Polynomials are known from step number `first` on."""
        self.steps = plan.steps
        self.end = plan.end
        self._nothing: tuple[Array | None, ...] = (None,) * len(sources)
        self._polynomials: dict[int, tuple[Array | None, ...]] = {}
        total = sum(abs(source.amplitude) for source in sources)
        over: set[int] = set()  # Sources that have decayed after their window
        for number, step in enumerate(self.steps[first:], first):
            polynomials: list[Array | None] = [None] * len(sources)
            for k, source in enumerate(sources):
                if k in over:
                    continue
                polynomial = source.polynomial(step.start, step.size)
                formed = np.abs(polynomial).max() * step.size * float(source.spectrum(step.stage).sum())
                if formed > NEGLIGIBLE_SOURCE * total:
                    polynomials[k] = polynomial
                elif step.start > source.window[1]:
                    over.add(k)
            if any(polynomial is not None for polynomial in polynomials):
                self._polynomials[number] = tuple(polynomials)

    def sources(self, number: int) -> tuple[Array | None, ...]:
        """Polynomial of each source's strength in a step; None when it forms nothing."""
        return self._polynomials.get(number, self._nothing)

    def time_after(self, number: int) -> float:
        """Time at the end of a step [ps]; 0 before the first, number −1."""
        if number < 0:
            return 0.0
        return self.steps[number + 1].start if number + 1 < len(self.steps) else self.end

    def size_after(self, number: int) -> float:
        """Size of the step that follows [ps]."""
        return self.steps[min(number + 1, len(self.steps) - 1)].size
