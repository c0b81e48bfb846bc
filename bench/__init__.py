"""What Barograph can do on this machine, measured: `python -m bench` runs it and writes results.md."""
