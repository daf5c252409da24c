"""Compare Playgate's cost with minimal baselines: ratios within one run, no absolute figures."""
