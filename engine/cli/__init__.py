"""`tradebot`: where its commands are named, and those that belong to no other room."""
