"""Layouts: the folder forms in which a dataset leaves the house; one public file a form."""
