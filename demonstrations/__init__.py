"""Where demonstrations come from: LIBERO's own, people's, and scripted skills."""
