"""Journal to engine, rollups, answers, retention."""
