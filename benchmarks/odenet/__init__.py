"""Training gradients of small ODE-Nets: the task, the package's own ways to compute it, and those of other packages."""
