"""RLDS in, policies out: reading our data, training pi0 and OpenVLA on it, serving them."""
