"""One module per data set; each has ``build(root)``, and the table in ``mtl_gym.data.registry`` lists them."""
