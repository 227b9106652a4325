"""Makes an installation by pip a service of systemd, and takes it away again."""
