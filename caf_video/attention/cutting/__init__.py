"""Cut any network at a layer: the map there, and the rest of the network as a function of it."""
