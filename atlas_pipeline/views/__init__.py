"""Views, and the classes that they name, resolved by the network's labels."""
