"""Events in: validated, processed, acknowledged when durable."""
