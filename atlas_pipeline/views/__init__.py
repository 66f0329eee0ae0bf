"""Views and class figures, with the classes they name resolved to the network's logits."""
