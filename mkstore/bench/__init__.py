"""The benchmark: `mkstore bench` compares the store with its peers and with the limits of the machine."""
