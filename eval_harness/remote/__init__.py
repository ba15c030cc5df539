"""Policies behind a WebSocket: clients and a server of openpi's and of vla-eval's protocols."""
