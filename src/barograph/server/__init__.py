"""The server: what comes over the wire into one open data directory, and the answers that go back."""
