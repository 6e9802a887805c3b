"""The one mapping that Proxmox gives an unprivileged guest by itself."""

MAP = "0 100000 65536"
SHIFT = 100000
