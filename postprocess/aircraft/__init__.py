"""Steps of the aircraft chain, one file each."""
