"""From alerts to notifications: who is told of what, when, together with what, and what holds it back."""
