"""What is made of which settings; the only place that knows settings and parts."""
