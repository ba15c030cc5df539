"""LeRobot's policies for the harness."""
