"""Devices and processes: the mesh, the cluster, and how XLA compiles."""
