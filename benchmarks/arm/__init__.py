"""Estimates of Arm cores: the plugin that counts, and how far off the method is."""
