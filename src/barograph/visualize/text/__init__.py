"""The chart specification drawn as text, in ASCII, Unicode and braille."""
