"""Networks that look at normalised tiles: Res-UNet, RetinaNet and their ensemble."""
