"""Translators: each turns whole images or label maps into whole images; one public file each."""
