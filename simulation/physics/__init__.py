"""LIBERO's control loop and MuJoCo's contact solver, compiled, bit for bit."""
