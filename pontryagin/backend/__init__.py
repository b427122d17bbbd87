"""Where sweeps run: the only place that knows devices and compilers. All backends give the same numbers to rounding."""
