"""Parts of the label-map-conditioned generator; its public face is ``medaug/translators/whole_image.py``."""
