"""Published statements on phonon sidebands and on the transport of dark excitons, from spectra of this program."""
