"""What is told of the engine: its picture, its answers, its alerts, and the words for them."""
