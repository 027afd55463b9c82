"""Parts of the diffusion generator; its public face is ``medaug/generators/diffusion.py``."""
