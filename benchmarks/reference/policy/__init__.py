"""The policy of the reference evaluation; LeRobot loads this package as its plugin."""
