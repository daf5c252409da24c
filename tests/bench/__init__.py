"""What Playgate costs beside less that does less: ratios of one run, never absolute figures."""
