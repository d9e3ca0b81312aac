"""What `scripts/bench` measures, one module each; `bench.py` is what they share."""
