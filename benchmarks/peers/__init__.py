"""What we are compared with: one module a peer, each optional."""
