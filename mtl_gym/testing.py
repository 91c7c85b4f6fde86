"""Check that an environment keeps what every environment of this package keeps."""
