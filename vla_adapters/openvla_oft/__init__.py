"""OpenVLA-OFT: OpenVLA's network read in one pass, with an action head and proprioception."""
