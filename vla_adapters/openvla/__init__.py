"""OpenVLA on today's transformers and timm, without its remote code: load, train, save, act."""
