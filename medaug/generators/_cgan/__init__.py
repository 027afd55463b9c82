"""Parts of the conditional GAN; its public face is ``medaug/generators/cgan.py``."""
