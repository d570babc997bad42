"""Physical constants in the program's units: meV, ps, nm, K, electron masses (CODATA 2018, rounded)."""

HBAR = 0.6582119569  # Reduced Planck constant [meV ps]
BOLTZMANN = 0.0861733326  # Boltzmann constant [meV/K]
HBAR2_OVER_M0 = 76.1996  # ħ²/m0 [meV nm²], m0 the free electron mass
HBAR_OVER_M0 = HBAR2_OVER_M0 / HBAR  # ħ/m0 [nm²/ps] (115.7676)
HBAR_C = 197326.9804  # ħ c [meV nm]
COULOMB = 1439.9645  # e² [meV nm], Gaussian units
ELECTRON_REST_ENERGY = 510998950.0  # m0c² [meV]
UM = 1e-3  # 1 nm in µm, as output files have it
CM2_PER_S = 0.01  # 1 nm²/ps in cm²/s, as output files have it
