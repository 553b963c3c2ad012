"""Messages and services of version 1, generated from proto/ by scripts/gen_proto.py."""
