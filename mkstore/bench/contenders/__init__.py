"""What takes turns under load: the store, its peers, and the limits of the machine."""
