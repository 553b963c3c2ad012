"""Vector chains: from candidates and probability rasters to features. No torch here."""
