"""Is a synthetic set a copy of the scans it was made from?"""
