"""The page of experiments, and the parts of it that the overview and reports show too."""
