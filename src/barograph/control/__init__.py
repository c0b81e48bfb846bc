"""What people decide: small, transactional tables."""
