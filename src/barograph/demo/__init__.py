"""The replay that ships: real arrivals, token counts, questions and ratings, played as if of today."""
