"""The reduced model: drift and diffusion of each valley's density with transfer between valleys, all from the kinetic rates."""
