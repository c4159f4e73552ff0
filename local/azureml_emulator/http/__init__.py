"""The way in: an HTTP proxy in front of the emulator, and the certificates that it shows."""
