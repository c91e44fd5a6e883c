"""What there is on the road: places, events, light, the camera, and where the evidence is."""
