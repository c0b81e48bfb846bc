"""Pages, and the one object that ties the components together."""
