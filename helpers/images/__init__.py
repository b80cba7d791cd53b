"""Images: base images, builds, sizes and layers, what is inside. ``recipes/`` holds those made from Debian packages."""
