"""Our speed beside the peers', in one run; imports whatever it measures."""
