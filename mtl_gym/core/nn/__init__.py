"""Networks and optimizers that several families use."""
