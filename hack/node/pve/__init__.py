"""A Proxmox node for tests; README.md beside this package says what it is and what it is not."""
