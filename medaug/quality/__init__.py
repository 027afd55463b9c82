"""Is a synthetic set realistic, diverse, and no copy of its training data?"""
