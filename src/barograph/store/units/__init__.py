"""What is asked of units: statements over their rollup, and the answers made of them."""
