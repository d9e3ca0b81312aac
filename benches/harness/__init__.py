"""The measurements of `scripts/bench`, one module each; `bench.py` is shared by all."""
