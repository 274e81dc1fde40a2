"""The messages whose JSON is not an object with their fields."""
