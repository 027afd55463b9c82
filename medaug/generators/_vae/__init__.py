"""Parts of the variational autoencoder; see :mod:`medaug.generators.vae`."""
