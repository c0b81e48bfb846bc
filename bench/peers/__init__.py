"""The same traces into Barograph, Phoenix and MLflow: `python -m bench.peers`."""
