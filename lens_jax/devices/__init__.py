"""The devices and processes that share the work: the mesh, the cluster, and how XLA compiles."""
