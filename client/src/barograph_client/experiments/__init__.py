"""Which arm a unit gets, decided inside the host program: hashing, targeting, sticky buckets, definitions."""
