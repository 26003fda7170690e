"""The networks behind the learned fusion methods. Everything here imports torch; nothing imports it on the way in."""
