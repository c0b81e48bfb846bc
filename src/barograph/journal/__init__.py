"""The journal: JSON Lines on disk, the truth from which the engine is made."""
