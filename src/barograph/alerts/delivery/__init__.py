"""How notifications reach people: texts, targets, and the sender that empties the outbox."""
