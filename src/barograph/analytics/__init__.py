"""One file per question that the data is asked."""
