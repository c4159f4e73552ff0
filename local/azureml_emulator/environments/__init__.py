"""Virtual environments in place of container images, built once for what they hold."""
