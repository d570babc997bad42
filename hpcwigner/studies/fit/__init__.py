"""The verb `fit`: numbers of a material adjusted, inside their documented ranges, to targets by moment equations and rates."""
